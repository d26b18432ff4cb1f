package fingerprint

import (
	"io/fs"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"
)

// cloud is a virtual machine with an NVMe partition for the data and a mapped device under /srv.
func cloud() fstest.MapFS {
	tree := fstest.MapFS{}
	for name, text := range map[string]string{
		"proc/cpuinfo": "processor\t: 0\ncpu family\t: 6\nmodel\t\t: 106\nmodel name\t: Intel(R) Xeon(R) 8375C\nstepping\t: 6\n" +
			"microcode\t: 0xd0003\nflags\t\t: fpu hypervisor lm\n\nprocessor\t: 1\nmodel name\t: Intel(R) Xeon(R) 8375C\n",
		"proc/meminfo":              "MemTotal:       15800000 kB\nMemFree: 1 kB\nMemAvailable:   8000000 kB\n",
		"proc/loadavg":              "0.10 0.20 0.30 1/100 4242\n",
		"proc/uptime":               "12345.67 1.0\n",
		"proc/cmdline":              "root=/dev/nvme0n1p1 mitigations=off quiet processor.max_cstate=1\n",
		"proc/sys/kernel/osrelease": "6.8.0-1021-aws\n",
		"proc/sys/vm/dirty_ratio":   "20\n",
		"proc/self/mountinfo": "22 1 259:1 / / rw,relatime shared:1 - ext4 /dev/root rw,discard,relatime\n" +
			"30 22 0:26 / /dev/shm rw - tmpfs tmpfs rw\n" +
			"29 22 0:6 / /dev rw - devtmpfs devtmpfs rw\n" +
			"31 22 253:0 / /srv rw,noatime - xfs /dev/mapper/vg-data rw,attr2\n" +
			"32 22 0:40 / /srv/with\\040space rw - overlay overlay rw,lowerdir=/a\n",
		"sys/class/dmi/id/sys_vendor":                                           "Amazon EC2\n",
		"sys/class/dmi/id/product_name":                                         "m6i.xlarge\n",
		"sys/devices/system/cpu/cpu0/cpufreq/scaling_governor":                  "performance\n",
		"sys/devices/system/clocksource/clocksource0/current_clocksource":       "kvm-clock\n",
		"sys/fs/cgroup/cpu.max":                                                 "max 100000\n",
		"sys/kernel/mm/transparent_hugepage/enabled":                            "always [madvise] never\n",
		"sys/devices/pci0000:00/nvme/nvme0/nvme0n1/size":                        "2097152\n",
		"sys/devices/pci0000:00/nvme/nvme0/nvme0n1/device/model":                "Amazon Elastic Block Store  \n",
		"sys/devices/pci0000:00/nvme/nvme0/nvme0n1/queue/write_cache":           "write back\n",
		"sys/devices/pci0000:00/nvme/nvme0/nvme0n1/queue/fua":                   "1\n",
		"sys/devices/pci0000:00/nvme/nvme0/nvme0n1/queue/scheduler":             "[none] mq-deadline\n",
		"sys/devices/pci0000:00/nvme/nvme0/nvme0n1/queue/logical_block_size":    "512\n",
		"sys/devices/pci0000:00/nvme/nvme0/nvme0n1/queue/physical_block_size":   "4096\n",
		"sys/devices/pci0000:00/nvme/nvme0/nvme0n1/nvme0n1p1/partition":         "1\n",
		"sys/devices/virtual/block/dm-0/size":                                   "100\n",
		"sys/devices/virtual/block/dm-0/slaves/nvme1n1/size":                    "100\n",
		"sys/devices/virtual/block/dm-0/slaves/nvme2n1/size":                    "100\n",
		"sys/devices/pci0000:00/nvme/nvme0/nvme0n1/queue/a_setting_of_tomorrow": "1\n",
	} {
		tree[name] = &fstest.MapFile{Data: []byte(text)}
	}
	link := func(name, to string) { tree[name] = &fstest.MapFile{Data: []byte(to), Mode: fs.ModeSymlink | 0o777} }
	link("sys/dev/block/259:1", "../../devices/pci0000:00/nvme/nvme0/nvme0n1/nvme0n1p1")
	link("sys/dev/block/253:0", "../../devices/virtual/block/dm-0")
	return tree
}

func TestCollect(t *testing.T) {
	info, err := Collect(cloud(), "/var/lib/data")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"cpu": "Intel(R) Xeon(R) 8375C", "cpus": "2", "cpu_family_model_stepping": "6/106/6", "memory_gib": "15",
		"kernel": "6.8.0-1021-aws", "virtualization": "virtual (Amazon EC2 m6i.xlarge)", "go_version": runtime.Version(),
		"governor": "performance", "clock_source": "kvm-clock", "cpu_quota": "max 100000", "file_system": "ext4",
		"mount_options": "rw,relatime,discard", "device": "nvme0n1 Amazon Elastic Block Store", "device_bytes": "1073741824",
		"write_cache": "write back", "fua": "1", "io_scheduler": "none", "logical_and_physical_block_bytes": "512 4096",
		"rotational": Unknown, "transparent_huge_pages": "madvise", "dirty_ratio": "20", "swappiness": Unknown,
		"boot_options": "mitigations=off processor.max_cstate=1", "load_average": "0.10 0.20 0.30", "uptime_s": "12345",
		"smt_active": Unknown,
	} {
		if got := info.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if err := info.Check(); err != nil {
		t.Error(err)
	}
}

// The digest moves with what matters and with nothing else.
func TestDigest(t *testing.T) {
	base, err := Collect(cloud(), "/")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		file, text string
		moves      bool
	}{
		{"proc/sys/kernel/osrelease", "6.8.0-1022-aws", true},
		{"sys/devices/pci0000:00/nvme/nvme0/nvme0n1/queue/fua", "0", true},
		{"sys/devices/pci0000:00/nvme/nvme0/nvme0n1/queue/write_cache", "write through", true},
		{"proc/sys/vm/dirty_ratio", "10", true},
		{"proc/cmdline", "mitigations=auto", true},
		{"proc/self/mountinfo", "22 1 259:1 / / rw,noatime - ext4 /dev/root rw,discard", true},
		{"proc/loadavg", "9 9 9 1/1 1", false},
		{"proc/uptime", "1.0 1.0", false},
		{"proc/cmdline", "root=/dev/sda1 mitigations=off processor.max_cstate=1", false},
		{"proc/meminfo", "MemTotal:       15790000 kB\n", false}, // the kernel kept a little more for itself
	} {
		tree := cloud()
		tree[c.file] = &fstest.MapFile{Data: []byte(c.text)}
		got, err := Collect(tree, "/")
		if err != nil {
			t.Fatal(err)
		}
		if moved := got.Digest != base.Digest; moved != c.moves {
			t.Errorf("%s = %q: digest moved is %v, want %v", c.file, c.text, moved, c.moves)
		}
		if n := len(Differ(base, got)); (n > 0) != c.moves {
			t.Errorf("%s = %q: Differ lists %v", c.file, c.text, Differ(base, got))
		}
	}
	edited := base
	edited.Fields = append([]Field(nil), base.Fields...)
	edited.Fields[0].Value = "a faster processor"
	if err := edited.Check(); err == nil {
		t.Error("an edited field went unnoticed")
	}
}

func TestFindMountAndDisk(t *testing.T) {
	tree := cloud()
	for dir, want := range map[string]struct{ fs, disk, below string }{
		"/":                     {"ext4", "nvme0n1", ""},
		"/srvother":             {"ext4", "nvme0n1", ""},
		"/srv/x":                {"xfs", "dm-0", "nvme1n1,nvme2n1"},
		"/srv":                  {"xfs", "dm-0", "nvme1n1,nvme2n1"},
		"/dev/shm/a":            {"tmpfs", "", ""},
		"/srv/with space/below": {"overlay", "", ""},
	} {
		m, err := FindMount(tree, dir)
		if err != nil {
			t.Fatal(err)
		}
		d, ok := FindDisk(tree, m)
		if m.Type != want.fs || d.Name != want.disk || d.Below != want.below || ok != (want.disk != "") {
			t.Errorf("%s: %s on %q over %q, want %+v", dir, m.Type, d.Name, d.Below, want)
		}
	}
	info, err := Collect(tree, "/dev/shm")
	if err != nil || info.Get("device") != "none (tmpfs)" {
		t.Errorf("device of a tmpfs is %q, %v", info.Get("device"), err)
	}
}

func TestArmAndContainer(t *testing.T) {
	tree := cloud()
	tree["proc/cpuinfo"] = &fstest.MapFile{Data: []byte("processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd40\nCPU variant\t: 0x1\n")}
	tree[".dockerenv"] = &fstest.MapFile{}
	delete(tree, "sys/fs/cgroup/cpu.max")
	tree["sys/fs/cgroup/cpu/cpu.cfs_quota_us"] = &fstest.MapFile{Data: []byte("200000")}
	tree["sys/fs/cgroup/cpu/cpu.cfs_period_us"] = &fstest.MapFile{Data: []byte("100000")}
	info, err := Collect(tree, "/")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"cpu": "implementer 0x41 part 0xd40 variant 0x1", "cpus": "1", "cpu_quota": "200000 100000",
		"virtualization": "bare metal (Amazon EC2 m6i.xlarge), in a container",
	} {
		if got := info.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

func TestNoMountTableIsAnError(t *testing.T) {
	tree := cloud()
	delete(tree, "proc/self/mountinfo")
	if _, err := Collect(tree, "/"); err == nil || !strings.Contains(err.Error(), "mountinfo") {
		t.Errorf("got %v, want an error that names the file", err)
	}
}

// Whatever this host is, its fingerprint is stable from one moment to the next.
func TestThisHost(t *testing.T) {
	dir := t.TempDir()
	a, err := Collect(os.DirFS("/"), dir)
	if err != nil {
		t.Fatal(err)
	}
	b, err := Collect(os.DirFS("/"), dir)
	if err != nil {
		t.Fatal(err)
	}
	if a.Digest != b.Digest {
		t.Errorf("digest %s, then %s: %v", a.Digest, b.Digest, Differ(a, b))
	}
	if a.Get("kernel") == Unknown || a.Get("cpus") == "0" {
		t.Errorf("kernel %q, cpus %q", a.Get("kernel"), a.Get("cpus"))
	}
}
