#!/bin/bash
{{directives}}
# Written from the `cluster` section of params.yaml by cluster/slurm.py; submitted by `python -m stages.train`.

cd {{folder}} || exit 1
export PYTHONUNBUFFERED=1 OMP_NUM_THREADS={{threads}}
{{setup}}

first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
address=$(scontrol --oneliner show node "$first" | sed -n 's/.*NodeAddr=\([^ ]*\).*/\1/p')
port=$((20000 + SLURM_JOB_ID % 20000))
run="$SLURM_JOB_ID-${SLURM_RESTART_COUNT:-0}"

# Time is nearly up: the processes save a checkpoint and exit, and the job goes back into the queue.
time_is_up=
notice() {
    time_is_up=1
    scancel --signal=USR1 "$SLURM_JOB_ID"
}
trap notice USR1
# Cancelled, preempted or requeued: SLURM signals the processes itself and decides what happens to the job.
trap : TERM

srun --kill-on-bad-exit=1 --ntasks={{nodes}} --ntasks-per-node=1 --cpus-per-task={{cpus}} \
    {{python}} -m cluster.agent {{settings}} "$address:$port" "$run" {{command}} &
step=$!
# A signal interrupts `wait`, not the step.
wait "$step"
status=$?
while kill -0 "$step" 2>/dev/null; do
    wait "$step"
    status=$?
done
if [ "$status" -ne 0 ] && [ -n "$time_is_up" ] && [ {{requeue}} = yes ]; then
    echo "job $SLURM_JOB_ID: time is up, back into the queue"
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
