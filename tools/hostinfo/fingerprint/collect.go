package fingerprint

import (
	"encoding/binary"
	"fmt"
	"io/fs"
	"math"
	"path"
	"runtime"
	"strconv"
	"strings"
)

// Collect reads the fingerprint of the host whose files are under root (os.DirFS("/"), a fixture in tests) for figures
// that are measured in dir, an absolute path without symbolic links. A fact that the host hides is Unknown; only a
// directory that is in no mount is an error.
func Collect(root fs.FS, dir string) (Info, error) {
	m, err := FindMount(root, dir)
	if err != nil {
		return Info{}, err
	}
	h := host{root: root}
	h.processor()
	h.system()
	h.storage(m)
	h.tuning()
	h.now()
	return New(h.fields), nil
}

type host struct {
	root   fs.FS
	fields []Field
}

// must adds a field that takes part in the digest, may one that does not.
func (h *host) must(name, value string) { h.add(name, value, true) }
func (h *host) may(name, value string)  { h.add(name, value, false) }

func (h *host) add(name, value string, match bool) {
	value = strings.Join(strings.Fields(value), " ")
	if value == "" {
		value = Unknown
	}
	h.fields = append(h.fields, Field{Name: name, Value: value, Match: match})
}

// read returns a file's content, "" when it cannot be read.
func (h *host) read(name string) string {
	b, err := fs.ReadFile(h.root, name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// key returns the value behind the first "key<sep>value" line of text.
func key(text, name, sep string) string {
	for line := range strings.SplitSeq(text, "\n") {
		if k, v, ok := strings.Cut(line, sep); ok && strings.TrimSpace(k) == name {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// chosen returns the bracketed word of a sysfs choice such as "none [mq-deadline] kyber".
func chosen(choice string) string {
	if _, rest, ok := strings.Cut(choice, "["); ok {
		word, _, _ := strings.Cut(rest, "]")
		return word
	}
	return choice
}

func (h *host) processor() {
	info := h.read("proc/cpuinfo")
	model := key(info, "model name", ":")
	if model == "" { // arm64 has numbers instead of a name
		if impl := key(info, "CPU implementer", ":"); impl != "" {
			model = fmt.Sprintf("implementer %s part %s variant %s", impl, key(info, "CPU part", ":"), key(info, "CPU variant", ":"))
		}
	}
	cpus := 0
	for line := range strings.SplitSeq(info, "\n") {
		if k, _, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == "processor" {
			cpus++
		}
	}
	h.must("cpu", model)
	h.must("cpu_family_model_stepping", strings.Trim(strings.Join([]string{key(info, "cpu family", ":"), key(info, "model", ":"),
		key(info, "stepping", ":")}, "/"), "/"))
	h.must("cpus", strconv.Itoa(cpus))
	h.must("smt_active", h.read("sys/devices/system/cpu/smt/active"))
	h.must("cpu_quota", h.quota())
	h.must("governor", h.read("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"))
	h.must("idle_driver_and_governor", h.read("sys/devices/system/cpu/cpuidle/current_driver")+" "+
		h.read("sys/devices/system/cpu/cpuidle/current_governor"))
	h.must("clock_source", h.read("sys/devices/system/clocksource/clocksource0/current_clocksource"))
	h.must("memory_gib", gib(key(h.read("proc/meminfo"), "MemTotal", ":")))
}

// gib rounds "24669060 kB" to whole GiB: what the kernel keeps for itself changes a little from boot to boot.
func gib(kb string) string {
	n, err := strconv.ParseFloat(strings.TrimSuffix(kb, " kB"), 64)
	if err != nil {
		return Unknown
	}
	return strconv.FormatFloat(math.Round(n/(1<<20)), 'f', 0, 64)
}

// quota is the CPU limit of the control group, in version 2 or 1.
func (h *host) quota() string {
	if v := h.read("sys/fs/cgroup/cpu.max"); v != "" {
		return v
	}
	if q := h.read("sys/fs/cgroup/cpu/cpu.cfs_quota_us"); q != "" && q != "-1" {
		return q + " " + h.read("sys/fs/cgroup/cpu/cpu.cfs_period_us")
	}
	return "max"
}

func (h *host) system() {
	h.must("kernel", h.read("proc/sys/kernel/osrelease"))
	h.must("architecture", runtime.GOARCH)
	h.must("virtualization", h.virtualization())
	h.must("go_version", runtime.Version())
}

// virtualization says what the machine claims to be: the firmware's vendor and product where there is firmware, else
// only whether a hypervisor shows itself to the processor.
func (h *host) virtualization() string {
	v := "bare metal"
	flags := " " + key(h.read("proc/cpuinfo"), "flags", ":") + " "
	if strings.Contains(flags, " hypervisor ") || h.read("sys/hypervisor/type") != "" {
		v = "virtual"
	}
	vendor, product := h.read("sys/class/dmi/id/sys_vendor"), h.read("sys/class/dmi/id/product_name")
	if name := strings.TrimSpace(vendor + " " + product); name != "" {
		v += " (" + name + ")"
	}
	for _, mark := range []string{".dockerenv", "run/.containerenv"} {
		if _, err := fs.Stat(h.root, mark); err == nil {
			return v + ", in a container"
		}
	}
	return v
}

func (h *host) storage(m Mount) {
	h.must("file_system", m.Type)
	h.must("mount_options", m.Options)
	d, ok := FindDisk(h.root, m)
	if !ok {
		h.must("device", "none ("+m.Source+")")
		return
	}
	model := strings.TrimSpace(h.read(path.Join(d.dir, "device/vendor")) + " " + h.read(path.Join(d.dir, "device/model")))
	about := d.Name
	if model != "" {
		about += " " + model
	}
	if d.Below != "" {
		about += " over " + d.Below
	}
	h.must("device", about)
	sectors, err := strconv.ParseInt(h.read(path.Join(d.dir, "size")), 10, 64)
	if err == nil {
		h.must("device_bytes", strconv.FormatInt(sectors*512, 10))
	}
	queue := func(name string) string { return h.read(path.Join(d.dir, "queue", name)) }
	h.must("write_cache", queue("write_cache"))
	h.must("fua", queue("fua"))
	h.must("rotational", queue("rotational"))
	h.must("io_scheduler", chosen(queue("scheduler")))
	h.must("io_queue_depth", queue("nr_requests"))
	h.must("logical_and_physical_block_bytes", queue("logical_block_size")+" "+queue("physical_block_size"))
	h.must("writeback_throttle_us", queue("wbt_lat_usec"))
	h.must("io_poll", queue("io_poll"))
}

// settings are what people tune; each moves latencies enough to make two machines different.
var settings = []struct{ name, file string }{
	{"dirty_background_ratio", "proc/sys/vm/dirty_background_ratio"},
	{"dirty_background_bytes", "proc/sys/vm/dirty_background_bytes"},
	{"dirty_ratio", "proc/sys/vm/dirty_ratio"},
	{"dirty_bytes", "proc/sys/vm/dirty_bytes"},
	{"dirty_expire_cs", "proc/sys/vm/dirty_expire_centisecs"},
	{"swappiness", "proc/sys/vm/swappiness"},
	{"busy_poll_us", "proc/sys/net/core/busy_poll"},
	{"busy_read_us", "proc/sys/net/core/busy_read"},
	{"tcp_congestion_control", "proc/sys/net/ipv4/tcp_congestion_control"},
	{"tcp_rmem_bytes", "proc/sys/net/ipv4/tcp_rmem"},
	{"tcp_wmem_bytes", "proc/sys/net/ipv4/tcp_wmem"},
	{"numa_balancing", "proc/sys/kernel/numa_balancing"},
	{"sched_autogroup", "proc/sys/kernel/sched_autogroup_enabled"},
}

func (h *host) tuning() {
	h.must("transparent_huge_pages", chosen(h.read("sys/kernel/mm/transparent_hugepage/enabled")))
	for _, s := range settings {
		h.must(s.name, h.read(s.file))
	}
	// What all programs together have asked for is the file's content, as a number and not as text. 0 keeps idle CPUs from halting.
	if b, err := fs.ReadFile(h.root, "dev/cpu_dma_latency"); err == nil && len(b) == 4 {
		h.must("cpu_latency_us", strconv.FormatUint(uint64(binary.NativeEndian.Uint32(b)), 10))
	}
	// The rest of the command line names disks and consoles; these words change what a system call costs.
	var words []string
	for word := range strings.FieldsSeq(h.read("proc/cmdline")) {
		name, _, _ := strings.Cut(word, "=")
		switch {
		case name == "mitigations", name == "isolcpus", name == "nohz_full", name == "rcu_nocbs", name == "idle",
			strings.HasPrefix(name, "intel_idle."), strings.HasPrefix(name, "processor."), strings.HasPrefix(name, "cpuidle"),
			strings.HasPrefix(name, "haltpoll."), name == "preempt":
			words = append(words, word)
		}
	}
	if words == nil {
		words = []string{"none"}
	}
	h.must("boot_options", strings.Join(words, " "))
}

// now adds what changes from hour to hour: worth reading when a figure surprises, no reason to refuse a comparison.
func (h *host) now() {
	load := strings.Fields(h.read("proc/loadavg"))
	h.may("load_average", strings.Join(load[:min(3, len(load))], " "))
	up, _, _ := strings.Cut(h.read("proc/uptime"), ".")
	h.may("uptime_s", up)
	h.may("memory_available", key(h.read("proc/meminfo"), "MemAvailable", ":"))
	h.may("microcode", key(h.read("proc/cpuinfo"), "microcode", ":"))
}
