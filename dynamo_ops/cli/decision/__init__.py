"""``dynamo policy | detox | dealer | plan | history``: what is decided, and why."""
