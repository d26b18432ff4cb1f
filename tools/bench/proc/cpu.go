package proc

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// CPU is how the time of the machine's CPUs was spent since boot, in ticks (10 ms on every Linux that Go runs on), summed
// over all of them.
type CPU struct {
	Total  int64 // running, waiting, idle and stolen
	Stolen int64 // a CPU of this virtual machine had work to do, and its host ran something else
}

// Sub returns what was counted between o and c.
func (c CPU) Sub(o CPU) CPU { return CPU{Total: c.Total - o.Total, Stolen: c.Stolen - o.Stolen} }

// StolenFraction is the share of the CPUs' time that the host took, 0 when no tick has passed.
func (c CPU) StolenFraction() float64 {
	if c.Total <= 0 {
		return 0
	}
	return float64(c.Stolen) / float64(c.Total)
}

// The columns of the line "cpu" in /proc/stat (proc(5)): user nice system idle iowait irq softirq steal, and then guest and
// guest_nice, which are parts of user and nice.
const (
	colStolen  = 7
	colsSummed = 8
)

// ReadCPU reads the machine's CPU time below root, which is "/proc" but in tests.
func ReadCPU(root string) (CPU, error) {
	name := filepath.Join(root, "stat")
	text, err := os.ReadFile(name)
	if err != nil {
		return CPU{}, fmt.Errorf("CPU time: %w", err)
	}
	line, _, _ := bytes.Cut(text, []byte("\n"))
	words := strings.Fields(string(line))
	if len(words) <= colStolen+1 || words[0] != "cpu" {
		return CPU{}, fmt.Errorf("CPU time: %s begins with %q, want \"cpu\" and at least %d numbers", name, line, colsSummed)
	}
	var c CPU
	for i, w := range words[1 : 1+colsSummed] {
		n, err := strconv.ParseInt(w, 10, 64)
		if err != nil {
			return CPU{}, fmt.Errorf("CPU time: %s: column %d is %q, want a number", name, i, w)
		}
		c.Total += n
		if i == colStolen {
			c.Stolen = n
		}
	}
	return c, nil
}
