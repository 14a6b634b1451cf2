# SPDX-License-Identifier: GPL-2.0-only
# Stacks of disks and file systems, made without udev and taken down again, and
# what is asked of each; loads dmabuf.
# shellcheck shell=bash

. "${BASH_SOURCE[0]%/*}/../dmabuf.bash"

PLAY=$BIN/dmabuf-play
SPECIAL=$BIN/special-file
MNT=/mnt/stack

# LVM that sees the disks of the VM and nothing else, and leaves no file behind.
export LVM_SYSTEM_DIR=/run/stack-lvm LVM_SUPPRESS_FD_WARNINGS=1

# ---- device mapper ----------------------------------------------------------

# No udev runs in the guest: libdevmapper makes the nodes.
export DM_DISABLE_UDEV=1

# reload NAME TABLE [OPTION]: what waits in the device meets the new table
reload() {
	dmsetup load "$1" ${3:+"$3"} --table "$2"
	dmsetup resume "$1"
}

# sec SIZE: 8K, 4M and the like as sectors
sec() {
	case $1 in
	*K) echo $((${1%K} * 2)) ;;
	*M) echo $((${1%M} * 2048)) ;;
	*) echo $(($1 / 512)) ;;
	esac
}

# linear NAME SIZE DEV [OFFSET]: a piece of a disk
linear() {
	dmsetup create "$1" --table "0 $(sec "$2") linear $3 $(sec "${4:-0}")"
}

# striped NAME SIZE CHUNK DEV...
striped() {
	local name=$1 size=$2 chunk=$3
	shift 3
	dmsetup create "$name" --table "0 $(sec "$size") striped $# $(sec "$chunk") $(
		printf '%s 0 ' "$@")"
}

# zero DEV MIB
zero() { dd if=/dev/zero of="$1" bs=1M count="$2" oflag=direct status=none; }

# ---- md ---------------------------------------------------------------------

# array LEVEL CHUNK DEV...: /dev/md0
array() {
	local level=$1 chunk=$2
	shift 2
	mdadm --quiet --create /dev/md0 --level="$level" ${chunk:+--chunk=$chunk} \
		--metadata=1.2 --raid-devices=$# --assume-clean --run "$@"
	wait_until 10 test -b /dev/md0
}

# members_well: no member of it has failed, and none is suspected
members_well() {
	local member state errors
	for member in /sys/block/md0/md/dev-*; do
		read -r state < "$member/state"
		read -r errors < "$member/errors"
		echo "${member##*/}: $state, $errors errors"
		[ "$state $errors" = "in_sync 0" ]
		# Empty, and not there without redundancy.
		[ -z "$(grep -s . "$member/bad_blocks")" ]
	done
}

# ---- io.max -----------------------------------------------------------------

export GROUP=/sys/fs/cgroup/stack

# throttled COMMAND...: in a control group of its own
throttled() {
	echo +io > /sys/fs/cgroup/cgroup.subtree_control
	mkdir $GROUP
	( echo "$BASHPID" > $GROUP/cgroup.procs; exec "$@" )
	rmdir $GROUP
}

# hold_back DISK, let_go DISK: what that group writes to it waits
hold_back() { echo "$(< "/sys/block/$1/dev") wbps=1024" > "$GROUP/io.max"; }
let_go() { echo "$(< "/sys/block/$1/dev") wbps=max" > "$GROUP/io.max"; }

# ---- LVM --------------------------------------------------------------------

# volume_group DISK...: vg
volume_group() {
	mkdir -p $LVM_SYSTEM_DIR
	cat > $LVM_SYSTEM_DIR/lvm.conf <<-END
		devices {
			use_devicesfile = 0
			obtain_device_list_from_udev = 0
			external_device_info_source = "none"
			filter = [ "a|^/dev/nvme|", "r|.*|" ]
		}
		global { locking_dir = "$LVM_SYSTEM_DIR/lock" }
		activation {
			udev_sync = 0
			udev_rules = 0
			monitoring = 0
		}
		backup { backup = 0 archive = 0 }
	END
	pvcreate -q -ff -y "$@"
	vgcreate -q vg "$@"
}

# volume NAME OPTIONS...: a logical volume
volume() {
	lvcreate -q -y -Wn -Zn -n "$@" vg
}

# ---- NVMe -------------------------------------------------------------------

# twins: the subsystem in sysfs that has two controllers
twins() { dirname "$(grep -l '^twin' /sys/class/nvme-subsystem/*/serial)"; }
twin_controllers() { printf '%s\n' "$(twins)"/nvme* | grep -x '.*/nvme[0-9]*'; }
twin_head() { printf '/dev/%s\n' "$(basename "$(twins)"/nvme*n1)"; }

# bring_back: what is off the bus; five disks, and the twin's second controller
bring_back() {
	echo 1 > /sys/bus/pci/rescan
	wait_until 20 all_there
}

all_there() {
	disk 2 && [ "$(twin_controllers | wc -l)" -eq 2 ] &&
		[ -b "$(twin_head)" ]
}

# ---- file systems -----------------------------------------------------------

# The journal and the log are left alone while IOMMU calls are counted.

# ext4 DEV [MKFS-OPTION...]
ext4() {
	mkfs.ext4 -q -F -b 4096 -J size=4 \
		-E nodiscard,lazy_itable_init=0,lazy_journal_init=0 "${@:2}" \
		"$1" 64M
	mkdir -p $MNT
	mount -t ext4 -o noatime,commit=600 "$1" $MNT
}

# xfs DEV [rtdev=DEV]
xfs() {
	local dev=$1 rtdev=${2:-}
	need_module xfs
	mkfs.xfs -q -f -K ${rtdev:+-r "$rtdev" -m reflink=0,rmapbt=0} "$dev"
	echo 720000 > /proc/sys/fs/xfs/xfssyncd_centisecs
	mkdir -p $MNT
	mount -t xfs -o "noatime${rtdev:+,$rtdev}" "$dev" $MNT
}

# file NAME SIZE: a sparse file there; prints its path
file() {
	truncate -s "$2" "$MNT/$1"
	echo "$MNT/$1"
}

# ---- taking down ------------------------------------------------------------

# unstack: whatever a test has left
unstack() {
	! grep -q " $MNT " /proc/mounts || wait_until 10 umount -R $MNT
	[ ! -e $LVM_SYSTEM_DIR ] || {
		vgchange -q -an vg
		rm -r $LVM_SYSTEM_DIR
	}
	# They lie on each other in any order.
	for _ in 1 2 3 4; do
		[ ! -e /sys/block/md0 ] || mdadm --quiet --stop /dev/md0 || :
		! device_mapped || dmsetup remove_all || :
	done
	[ ! -e /sys/block/md0 ]
	if device_mapped; then return 1; fi
}

device_mapped() { compgen -G '/sys/block/dm-*' > /dev/null; }

# unpartition DEV: or LVM would not take it
unpartition() {
	zero "$1" 1
	blockdev --rereadpt "$1"
}

# ---- what is asked of a stack -----------------------------------------------

# row ON DIRECTION PATH MAPS_PER_IO BYTES MISMATCHES [REASON]
row() {
	local reason=null
	[ -z "${7:-}" ] || reason="\"$7\""
	printf '{"on":"%s","dir":"%s","path":"%s","maps_per_io":%s,"bytes":%s,"mismatches":%s,"reason":%s}\n' \
		"${@:1:6}" "$reason" >> "$BATS_FILE_TMPDIR/rows"
}

# premapped ON LINE: the row of what a program did in one direction while the gate
# was open, and what has to be true of it
premapped() {
	local maps unmaps
	echo "$2"
	[[ $2 =~ ^([a-z]+)\ .*ios=([0-9]+)\ bytes=([0-9]+)\ mismatches=([0-9]+) ]]
	set -- "$1" "${BASH_REMATCH[@]:1}"
	read -r maps unmaps < <(awk -v want="$2" '
		/ tracing_mark_write: / { direction = $NF }
		/ map: / && direction == want { maps++ }
		/ unmap: / && direction == want { unmaps++ }
		END { print maps + 0, unmaps + 0 }' "$TRACE/trace")
	echo "  $maps maps, $unmaps unmaps"
	row "$1" "$2" premapped "$(per "$maps" "$3")" "$4" "$5"
	[ "$maps $unmaps $5" = "0 0 0" ]
}

# per N M: N / M
per() {
	if [ "$1" = 0 ]; then echo 0; else awk "BEGIN { print $1 / $2 }"; fi
}

# Stacks are asked for buffer offsets in whole sectors.
OFFSETS=0,512,2560,3584

# passes ON FILE [OPTION...]: I/O of all sizes in each direction, every byte
# looked at, with a buffer that was mapped before
passes() {
	measures "$1" "$IO" --buffer shuffled --sizes 4K,68K,516K,1M \
		--offsets $OFFSETS --warm-up 8 --count 8 --gate "$GATE" \
		"${@:3}" "$2"
}

# plays ON FILE... < SCRIPT: the same with what a script measures
plays() {
	measures "$1" "$PLAY" --gate "$GATE" "${@:2}"
}

measures() {
	local on=$1 line
	shift
	trace_clear
	"$@" > "$BATS_TEST_TMPDIR/measured"
	trace_whole
	while read -r line; do
		case $line in *\ ios=*) premapped "$on" "$line" ;; esac
	done < "$BATS_TEST_TMPDIR/measured"
}

# refuses ON DEV [OPTION] [MEMBER...]: no buffer can be registered on it, and I/O
# that is on its way when a layer below is reloaded to it is refused there, with
# nothing moved, on it and on its members. OPTION: of dmsetup load. MEMBER: a
# device, and where its data starts.
refuses() {
	local on=$1 dev=$2 option=''
	shift 2
	case ${1:-} in --*) option=$1; shift ;; esac
	linear lower 4M "$D3"
	linear upper 4M /dev/mapper/lower
	"$PLAY" /dev/mapper/upper "$D3" <<-END
		$(printf 'keep %s\n' "$dev" "$@")
		unusable $dev no-driver
		plain 0 2M 1
		read 0 64K 1
		! dmsetup suspend upper
		start write 0 64K 2 4
		start read 1M 64K 1 4
		waiting
		! reload lower "0 $(sec 4M) linear $dev 0" $option; dmsetup resume upper
		finish EOPNOTSUPP
		refused layer 8
		on 1
		is 0 2M 1
		kept
	END
	dmsetup remove upper lower
	row "$on" read refused 0 0 0 no-driver
	row "$on" write refused 0 0 0 no-driver
}

# refuses_file ON FILE REASON: neither a channel nor a registration
refuses_file() {
	"$PLAY" <<< "unusable $2 $3"
	row "$1" read refused 0 0 0 "$3"
	row "$1" write refused 0 0 0 "$3"
}

# For commands in scripts of dmabuf-play.
export -f reload hold_back let_go
