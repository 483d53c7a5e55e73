"""`tokenjax check-device`: whether all is right and fast on a device, in minutes.

    plan        the steps, most important first, each with its limit
    runner      a process for each; what hangs or crashes ends with its limit, alone
    turns       one step at a time measures, whatever the others do meanwhile
    findings    what a step says while it runs, and how it ended
    summary     the JSON to send around, and the table
    process     what runs in a step's process
    steps/      a module for each kind of step: `find(task, findings)`

Only the steps' processes start jax: some devices belong to one process at a time.
"""
