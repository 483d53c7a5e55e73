"""`tokenjax check-device`: whether all is right and fast on a device, in minutes.

    plan          the steps, most important first, each with its limit
    runner        runs them in their order, until the time is up
    step_process  a process for each: what hangs or crashes ends alone
    turns         one step at a time measures, whatever the others do meanwhile
    findings      what a step says while it runs
    summary       the JSON to send around, and the table
    process       what runs in a step's process
    jobs, sizes   what steps share: programs prepared in threads, models and batches
    steps/        a module for each kind of step: `find(task, findings)`
    parity/       the recorded cases, as step `parity` computes them again

Only the steps' processes start jax: some devices belong to one process at a time.
"""
