"""Events: what people and services are told of when it happens.

Written with what they tell of: ``kinds`` (of what there are any), ``writer`` (in whose transaction), ``tokens`` (those
that end soon). Sent to who has asked for them: ``subscription`` (asked, ended, listed), ``address`` (where a webhook
may be), ``states``, ``settings``; by ``deliver`` (a run): ``fan_out`` (to whom), ``queue`` (what waits), ``webhook``,
``mail``.
"""
