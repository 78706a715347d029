"""What can't be rendered with, and which setting is at fault; imports nothing."""

from __future__ import annotations


class WrongSetting(ValueError):
    """Settings that can't work together; `setting` is the ForcingConfig field to change."""

    def __init__(self, setting: str, what: str) -> None:
        super().__init__(what)
        self.setting = setting
