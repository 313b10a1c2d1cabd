"""What people work with, as read models without web: the worklist, one person, the study.

Nothing is decided here. Every verdict, date and number is read from what ``adapter screen`` and ``adapter
monitor`` left in the workspace, so that a page and a command line never tell different stories.
"""
