"""The film as a timeline for editing programs, and their edits as a cut list: there and back."""
