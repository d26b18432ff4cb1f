package plant

import (
	_ "embed"
	"fmt"
	"strconv"
	"strings"
	"time"

	"ackline/tools/compare/builds"
)

//go:embed spin.patch
var spinPatch string

// spinMark stands in the patch for the nanoseconds.
const spinMark = "SPIN_NS"

// Spin is the patch that keeps the WAL busy for so long behind each write, when it is durable and before it says so.
func Spin(d time.Duration) builds.Patch {
	return builds.Patch{Name: fmt.Sprintf("spin-%dns", d.Nanoseconds()),
		Diff: strings.Replace(spinPatch, spinMark, strconv.FormatInt(d.Nanoseconds(), 10), 1)}
}
