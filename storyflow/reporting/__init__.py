"""Looking at a film: `report.html` and the contact sheet, made from what lies in its folder."""
