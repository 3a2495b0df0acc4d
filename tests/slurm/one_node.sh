#!/usr/bin/env bash
# A throwaway one-node SLURM cluster in a folder: no systemd, no cgroups, no fixed ports, nothing outside the folder.
#   one_node.sh start DIR              start it, or leave it running; then:  . DIR/env
#   one_node.sh stop DIR               end its jobs and daemons; keeps DIR
#   one_node.sh status DIR
#   one_node.sh kill-controller DIR    kill -9 slurmctld; start-controller starts it again
# Settings, from the environment: ACCOUNTING=slurmdbd|none CPUS=8 GPUS=2 MEM_MB=<95% of all> KILL_WAIT=20 GRACE_TIME=20
#   OWNER=<pid>: stop when that process has ended, however it ended.
# Partitions: main (default) and scavenge, which main preempts. Account: lab.
set -euo pipefail

verb=${1:?start, stop, status, kill-controller or start-controller}
dir=$(realpath -m "${2:?folder of the cluster}")
accounting=${ACCOUNTING:-slurmdbd} cpus=${CPUS:-8} gpus=${GPUS:-2} kill_wait=${KILL_WAIT:-20} grace_time=${GRACE_TIME:-20}
mem=${MEM_MB:-$(awk '/MemTotal/ {print int($2 / 1024 * 0.95)}' /proc/meminfo)}
host=$(hostname -s)
user=$(id -un)
daemons=(slurmd slurmctld slurmdbd mariadbd munged)
export SLURM_CONF=$dir/etc/slurm.conf
# The daemons are in /usr/sbin; our own srun, in DIR/bin, must not call itself.
PATH=${PATH//"$dir/bin:"/}:/usr/sbin:/sbin

pid_of() { cat "$dir/run/$1.pid" 2> /dev/null; }

alive() { # is the process in DIR/run/NAME.pid alive, and really NAME?
    local pid
    pid=$(pid_of "$1") && [[ $(readlink "/proc/$pid/exe" 2> /dev/null) == */"$1"* ]]
}

until_ok() { # until_ok SECONDS COMMAND...: try every 0.1 s
    local deadline=$((SECONDS + $1))
    shift
    until "$@" > /dev/null 2>&1; do
        if ((SECONDS > deadline)); then
            echo "timed out: $*; see $dir/log" >&2
            return 1
        fi
        sleep 0.1
    done
}

no_jobs() { [[ -z $(squeue -h) ]]; }
node_is_up() { sinfo -h -N -p main -o %T | grep -qE "^(idle|mixed|allocated)$"; }
gone() { [[ ! -e /proc/$1/exe ]]; } # a zombie has no exe either

stop() {
    local watch
    if watch=$(pid_of watch) && [[ $watch != "$$" ]]; then kill -- -"$watch" 2> /dev/null || true; fi
    if alive slurmctld; then # stopping slurmd does not end its jobs
        timeout 10 scancel --quiet --full --signal=KILL --state=RUNNING --user="$user" || true
        timeout 10 scancel --quiet --user="$user" || true
        until_ok 10 no_jobs || true
    fi
    local name pid pids=()
    for name in "${daemons[@]}"; do # all at once: slurmd and slurmdbd each take seconds to end
        if alive "$name"; then
            pid=$(pid_of "$name")
            kill "$pid"
            pids+=("$pid")
        fi
    done
    for pid in "${pids[@]}"; do
        until_ok 10 gone "$pid" || kill -9 "$pid"
    done
    rm -f "$dir"/run/*.pid
}

ports() { # N free ports
    python3 - "$1" << 'PY'
import socket, sys
held = [socket.socket() for _ in range(int(sys.argv[1]))]
for s in held:
    s.bind(("127.0.0.1", 0))
print(*(s.getsockname()[1] for s in held))
PY
}

configure() {
    mkdir -p "$dir"/{bin,etc,run,log,state,spool,dev}
    chmod 755 "$dir" "$dir/run"
    read -r ctld_port slurmd_port dbd_port sql_port <<< "$(ports 4)"
    (umask 077 && head -c 1024 /dev/urandom > "$dir/etc/munge.key")
    configure_slurm
    if [[ $accounting == slurmdbd ]]; then
        configure_accounting
    else
        echo "AccountingStorageType=accounting_storage/none" >> "$SLURM_CONF"
    fi
    configure_gpus
    # The step plugin of Snakemake drops SLURM_CONF from the environment of its srun, which gets it back here.
    printf '#!/bin/sh\nSLURM_CONF=%q exec %q "$@"\n' "$SLURM_CONF" "$(command -v srun)" > "$dir/bin/srun"
    # Without cgroups no job is ever OUT_OF_MEMORY: its step is killed all the same, and then called CANCELLED.
    cat > "$dir/bin/sacct" << SACCT
#!/bin/bash
told=\$(SLURM_CONF=$SLURM_CONF $(command -v sacct) "\$@") || exit
if [[ " \$* " =~ " -j "([0-9]+) ]] && grep -q "StepId=\${BASH_REMATCH[1]}[.].* exceeded memory limit" $dir/log/slurmd.log; then
    told=\${told//CANCELLED/OUT_OF_MEMORY}
fi
echo "\$told"
SACCT
    chmod +x "$dir"/bin/*
    cat > "$dir/env" << ENV
export SLURM_CONF=$SLURM_CONF
case :\$PATH: in *":$dir/bin:"*) ;; *) export PATH=$dir/bin:\$PATH ;; esac
ENV
}

configure_slurm() {
    cat > "$SLURM_CONF" << CONF
ClusterName=one
SlurmctldHost=$host(127.0.0.1)
SlurmUser=$user
SlurmdUser=$user
SlurmctldPort=$ctld_port
SlurmdPort=$slurmd_port
AuthType=auth/munge
CredType=cred/munge
# cred_expire: a requeued job may start again after this many seconds, not after 120
AuthInfo=socket=$dir/run/munge.socket,cred_expire=5
SlurmctldPidFile=$dir/run/slurmctld.pid
SlurmdPidFile=$dir/run/slurmd.pid
SlurmctldLogFile=$dir/log/slurmctld.log
SlurmdLogFile=$dir/log/slurmd.log
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
SwitchType=switch/none
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
# in place of cgroups: a step over its memory is killed
JobAcctGatherParams=OverMemoryKill
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=2,sched_interval=2,batch_sched_delay=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
ReturnToService=2
MinJobAge=300
KillWait=$kill_wait
MaxArraySize=1001
GresTypes=gpu
# config_overrides: few cores pose as many
SlurmdParameters=config_overrides
NodeName=$host NodeAddr=127.0.0.1 CPUs=$cpus RealMemory=$mem Gres=gpu:h200:$gpus State=UNKNOWN
PartitionName=main Nodes=$host Default=YES MaxTime=INFINITE DefaultTime=60 DefMemPerCPU=500 PriorityTier=10 PreemptMode=OFF
PartitionName=scavenge Nodes=$host MaxTime=INFINITE DefaultTime=60 DefMemPerCPU=500 PriorityTier=1 PreemptMode=REQUEUE GraceTime=$grace_time
CONF
}

configure_accounting() {
    cat >> "$SLURM_CONF" << CONF
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=$dbd_port
# for slurmdbd, clients ignore the socket in AuthInfo
AccountingStoragePass=$dir/run/munge.socket
AccountingStorageTRES=gres/gpu
CONF
    (umask 077 && cat > "$dir/etc/slurmdbd.conf" << CONF
AuthType=auth/munge
AuthInfo=socket=$dir/run/munge.socket
DbdHost=$host
DbdAddr=127.0.0.1
DbdPort=$dbd_port
SlurmUser=$user
LogFile=$dir/log/slurmdbd.log
PidFile=$dir/run/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=$sql_port
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm_acct
CONF
    )
    cat > "$dir/etc/users.sql" << 'SQL'
CREATE DATABASE IF NOT EXISTS slurm_acct;
CREATE USER IF NOT EXISTS 'slurm'@'127.0.0.1' IDENTIFIED BY 'slurm';
GRANT ALL ON slurm_acct.* TO 'slurm'@'127.0.0.1';
SQL
    echo "$sql_port" > "$dir/etc/sql_port"
}

configure_gpus() { # devices that are /dev/null; CUDA_VISIBLE_DEVICES is set for each job as on a real node
    local i
    for ((i = 0; i < gpus; i++)); do
        [[ -e $dir/dev/nvidia$i ]] || ln -s /dev/null "$dir/dev/nvidia$i"
    done
    echo "AutoDetect=off" > "$dir/etc/gres.conf"
    if ((gpus > 0)); then
        echo "Name=gpu Type=h200 Flags=nvidia_gpu_env File=$dir/dev/nvidia[0-$((gpus - 1))]" >> "$dir/etc/gres.conf"
    fi
}

start_accounting() {
    local port
    port=$(cat "$dir/etc/sql_port")
    [[ -d $dir/sql/mysql ]] || mariadb-install-db --no-defaults --user="$user" --datadir="$dir/sql" \
        --auth-root-authentication-method=normal --skip-test-db > "$dir/log/mariadb-install.log" 2>&1
    setsid mariadbd --no-defaults --user="$user" --datadir="$dir/sql" --bind-address=127.0.0.1 \
        --port="$port" --socket="$dir/run/sql.socket" --pid-file="$dir/run/mariadbd.pid" \
        --init-file="$dir/etc/users.sql" --innodb-buffer-pool-size=64M --innodb-lock-wait-timeout=900 \
        --innodb-flush-log-at-trx-commit=0 --skip-name-resolve > "$dir/log/mariadbd.log" 2>&1 < /dev/null &
    until_ok 30 mariadb --no-defaults -h127.0.0.1 -P"$port" -uslurm -pslurm -e 'SELECT 1'
    slurmdbd # reads slurmdbd.conf beside SLURM_CONF
    until_ok 30 sacctmgr -n list cluster
    sacctmgr -i add cluster one > /dev/null 2>&1 || true # each is there already after a restart
    sacctmgr -i add account lab Cluster=one > /dev/null 2>&1 || true
    sacctmgr -i add user "$user" Account=lab DefaultAccount=lab Cluster=one > /dev/null 2>&1 || true
}

start_controller() {
    alive slurmctld || slurmctld
    until_ok 30 scontrol ping
    until_ok 30 node_is_up
}

start() {
    if alive slurmctld && alive slurmd && alive munged; then return 0; fi
    stop
    configure
    if [[ -n ${OWNER:-} ]]; then
        setsid "$0" stop-after "$dir" "$OWNER" > /dev/null 2>&1 < /dev/null &
        echo $! > "$dir/run/watch.pid"
    fi
    munged --key-file="$dir/etc/munge.key" --socket="$dir/run/munge.socket" --pid-file="$dir/run/munged.pid" \
        --log-file="$dir/log/munged.log" --seed-file="$dir/run/munge.seed" --force 2>> "$dir/log/munged.err"
    until_ok 10 munge --socket="$dir/run/munge.socket" -n
    if [[ $accounting == slurmdbd ]]; then start_accounting; fi
    slurmctld
    slurmd -N "$host"
    start_controller
}

case $verb in
    start) start ;;
    stop) stop ;;
    stop-after) # a process, which this one waits for
        tail --pid="${3:?}" -f /dev/null
        stop
        ;;
    status) for name in "${daemons[@]}"; do if alive "$name"; then echo "$name up"; else echo "$name down"; fi; done ;;
    kill-controller)
        pid=$(pid_of slurmctld)
        kill -9 "$pid"
        until_ok 10 gone "$pid"
        ;;
    start-controller) start_controller ;;
    *)
        echo "unknown verb: $verb" >&2
        exit 2
        ;;
esac
