"""SQL of revision 0006: functions and triggers of the workflow, in the order in which they are made."""
