package result

import (
	"fmt"
	"strings"
)

// Consumers are the consumers that read everything beside the load and are not timed.
type Consumers struct {
	Count   int   `json:"count"`
	Records int64 `json:"records"` // that they had, all together, since the session was opened
	// Behind is how many acknowledged records the slowest one did not have a few seconds after the last was acknowledged.
	Behind int64 `json:"behind"`
}

func (r *Result) consumers(b *strings.Builder) {
	c := r.Consumers
	if c == nil {
		return
	}
	fmt.Fprintf(b, "  %s had %d records", plural(c.Count, "consumer"), c.Records)
	if c.Behind > 0 {
		fmt.Fprintf(b, "; the slowest was %d behind at the end", c.Behind)
	}
	b.WriteString("\n")
}
