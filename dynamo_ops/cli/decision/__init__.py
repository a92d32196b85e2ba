"""``dynamo policy | detox | dealer | plan | history``: what is decided, and why. ``detox_making`` and ``dealer_making``
decide now, which only who has the installation can."""
