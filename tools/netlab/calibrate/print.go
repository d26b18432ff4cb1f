package calibrate

import (
	"fmt"
	"io"
	"strings"
)

// Print writes the result as a table, with a verdict under it.
func (r *Result) Print(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "topology %s, mode %s; an echo without a distance takes %.3f ms\n\n", r.Topology, r.Mode, r.EchoUs/1000)
	rated := false
	width := len("pair")
	for _, p := range r.Pairs {
		rated = rated || p.There.BytesPerSecond > 0
		width = max(width, len(p.name()))
	}
	fmt.Fprintf(&b, "%-*s  %10s  %10s  %8s  %8s", width, "pair", "want ms", "got ms", "off ms", "jitter")
	if rated {
		fmt.Fprintf(&b, "  %12s  %12s  %12s", "there MB/s", "back MB/s", "limits")
	}
	b.WriteString("\n")
	for _, p := range r.Pairs {
		fmt.Fprintf(&b, "%-*s  %10.3f  %10.3f  %+8.3f  %8.3f", width, p.name(), p.WantUs/1000, p.GotUs/1000, p.ErrorUs/1000, p.JitterUs/1000)
		if rated {
			fmt.Fprintf(&b, "  %12.1f  %12.1f  %12s", p.There.BytesPerSecond/1e6, p.Back.BytesPerSecond/1e6, p.There.limit()+", "+p.Back.limit())
		}
		if p.Off {
			b.WriteString("  OFF")
		}
		if p.There.Off || p.Back.Off {
			b.WriteString("  ABOVE ITS LIMIT")
		}
		b.WriteString("\n")
	}
	b.WriteString("\n")
	if n := r.Off(); n > 0 {
		fmt.Fprintf(&b, "%d of %d pairs are OFF: by more than 1%% and more than 0.2 ms, or above a limit. A busy machine is the usual cause: what is "+
			"measured on this network now is not what the topology says.\n", n, len(r.Pairs))
	} else {
		fmt.Fprintf(&b, "all %d pairs are within 1%% or 0.2 ms of the topology\n", len(r.Pairs))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (p Pair) name() string { return p.From + " - " + p.To }

func (r Rate) limit() string {
	if r.LimitBytesPerSecond == 0 {
		return "none"
	}
	return fmt.Sprintf("%.1f", r.LimitBytesPerSecond/1e6)
}
