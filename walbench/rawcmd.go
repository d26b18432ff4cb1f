package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"ackline/broker/syncmethod"
	"ackline/tools/hostinfo/fingerprint"
	"ackline/tools/version"
	"ackline/walbench/raw"
)

type rawCmd struct {
	common
	Method      []string        `default:"all" help:"Sync methods, or all: direct-dsync, direct-fdatasync, direct-rwf-dsync, buffered-dsync, buffered-fdatasync, buffered-rwf-dsync." placeholder:"NAME"`
	Size        []bytes         `default:"4096" help:"Bytes of one write, comma-separated (${default})." placeholder:"BYTES"`
	Cadence     []time.Duration `default:"0,200us,2ms" help:"What passes between one write's return and the next write, comma-separated (${default}). Disks answer later when they idled; choose what your load does." placeholder:"TIME"`
	Count       int             `help:"Writes per row (10000). A percentile needs 100 writes beyond it: p99 10000, p99.9 100000." placeholder:"N"`
	For         time.Duration   `help:"Measure each row for so long, instead of a count." placeholder:"TIME"`
	Concurrency int             `default:"1" help:"Writers at once, each with a file of its own (${default})." placeholder:"N"`
	Ring        bytes           `default:"16MiB" help:"Size of each file, which is overwritten again and again (${default})." placeholder:"BYTES"`
}

// Help is what walbench raw --help adds.
func (*rawCmd) Help() string {
	return `Each method overwrites a zero-filled file of its own. All rows are measured in small slices that take turns, so that a disk
that slows down slows all of them. Afterwards every file is read back and compared.

Percentiles with fewer than 100 writes beyond them are printed as "-". dev/user is what the device wrote per byte of ours:
near 1 for direct methods, more where metadata or a journal is written too, or somebody else is writing.`
}

// config turns the flags into what raw.Run takes.
func (c *rawCmd) config() (raw.Config, error) {
	cfg := raw.Default()
	if len(c.Method) != 1 || c.Method[0] != "all" {
		cfg.Methods = nil
		for _, name := range c.Method {
			m, err := syncmethod.Parse(name)
			if err != nil {
				return cfg, usageError{err}
			}
			cfg.Methods = append(cfg.Methods, m)
		}
	}
	cfg.Sizes, cfg.Cadences, cfg.Writers, cfg.RingBytes = ints(c.Size), c.Cadence, c.Concurrency, int64(c.Ring)
	if c.Count != 0 || c.For != 0 {
		cfg.Count, cfg.For = c.Count, c.For
	}
	if err := cfg.Validate(); err != nil {
		return cfg, usageError{err}
	}
	return cfg, nil
}

// Run is called by kong.
func (c *rawCmd) Run(e *env) error {
	cfg, err := c.config()
	if err != nil {
		return err
	}
	return c.at(e, cfg.Needs(), func(p raw.Place, work string) error {
		shown := newProgress(e.stderr)
		rows, err := raw.Run(e.ctx, e.fs, work, cfg, p.Written, shown.Report)
		shown.Done()
		if err != nil {
			return err
		}
		if c.JSON {
			return writeJSON(e.stdout, rawResult{Version: version.String(), Place: placeOf(p), RingBytes: cfg.RingBytes, Rows: jsonRows(rows)})
		}
		rawTable(e.stdout, rows)
		return nil
	})
}

func rawTable(out io.Writer, rows []raw.Row) {
	cells := [][]string{{"method", "size", "cadence", "writers", "writes", "p50 µs", "p99 µs", "p99.9 µs", "writes/s", "MB/s", "dev/user"}}
	for _, r := range rows {
		row := []string{string(r.Method), bytes(r.Size).String(), r.Cadence.String(), fmt.Sprint(r.Writers)}
		if r.Err != nil {
			row = append(row, "-", "-", "-", "-", "-", "-", "-")
		} else {
			row = append(row, fmt.Sprint(r.Latency.TotalCount()), us(r, 50), us(r, 99), us(r, 99.9), fmt.Sprintf("%.0f", r.PerSecond()),
				fmt.Sprintf("%.2f", r.PerSecond()*float64(r.Size)/1e6), amplification(r))
		}
		cells = append(cells, row)
	}
	table(out, cells)
	failed := map[syncmethod.Method]bool{}
	for _, r := range rows {
		if r.Err != nil && !failed[r.Method] {
			failed[r.Method] = true
			fmt.Fprintf(out, "%s does not work here: %v\n", r.Method, r.Err)
		}
	}
	fmt.Fprint(out, fastest(rows))
}

func us(r raw.Row, p float64) string {
	d, ok := r.Percentile(p)
	if !ok {
		return "-"
	}
	return fmt.Sprintf("%.1f", float64(d)/1e3)
}

func amplification(r raw.Row) string {
	a, ok := r.Amplification()
	if !ok {
		return "-"
	}
	return fmt.Sprintf("%.2f", a)
}

// fastest names, for each size and cadence, the method with the lowest median and those within 5% of it.
func fastest(rows []raw.Row) string {
	type group struct {
		size    int
		cadence time.Duration
	}
	var order []group
	of := map[group][]raw.Row{}
	for _, r := range rows {
		g := group{r.Size, r.Cadence}
		if _, ok := r.Percentile(50); !ok {
			continue
		}
		if of[g] == nil {
			order = append(order, g)
		}
		of[g] = append(of[g], r)
	}
	var out strings.Builder
	for _, g := range order {
		if len(of[g]) < 2 {
			continue
		}
		best := of[g][0]
		bestP50, _ := best.Percentile(50)
		for _, r := range of[g] {
			if p, _ := r.Percentile(50); p < bestP50 {
				best, bestP50 = r, p
			}
		}
		fmt.Fprintf(&out, "%s at %v: %s is fastest", bytes(g.size), g.cadence, best.Method)
		var alike []string
		for _, r := range of[g] {
			if p, _ := r.Percentile(50); r.Method != best.Method && float64(p) <= 1.05*float64(bestP50) {
				alike = append(alike, string(r.Method))
			}
		}
		if alike != nil {
			fmt.Fprintf(&out, "; within 5%%: %s", strings.Join(alike, ", "))
		}
		out.WriteByte('\n')
	}
	if out.Len() > 0 {
		return "\n" + out.String()
	}
	return ""
}

// placeJSON says where a result comes from.
type placeJSON struct {
	Dir        string           `json:"dir"`
	FileSystem string           `json:"file_system"`
	FreeBytes  int64            `json:"free_bytes"`
	Host       fingerprint.Info `json:"host"`
}

func placeOf(p raw.Place) placeJSON {
	return placeJSON{Dir: p.Dir, FileSystem: p.Mount.Type, FreeBytes: p.FreeBytes, Host: p.Host}
}

type rawResult struct {
	Version   string    `json:"version"`
	Place     placeJSON `json:"place"`
	RingBytes int64     `json:"ring_bytes"`
	Rows      []rowJSON `json:"rows"`
}

// rowJSON is a raw.Row; what cannot be told is absent.
type rowJSON struct {
	Method        syncmethod.Method `json:"method"`
	SizeBytes     int               `json:"size_bytes"`
	CadenceUs     float64           `json:"cadence_us"`
	Writers       int               `json:"writers"`
	Error         string            `json:"error,omitempty"`
	Writes        int64             `json:"writes,omitempty"`
	P50Us         *float64          `json:"latency_us_p50,omitempty"`
	P99Us         *float64          `json:"latency_us_p99,omitempty"`
	P999Us        *float64          `json:"latency_us_p99_9,omitempty"`
	PerSecond     float64           `json:"writes_per_second,omitempty"`
	DevicePerUser *float64          `json:"device_bytes_per_user_byte,omitempty"`
	Histogram     string            `json:"histogram_ns,omitempty"` // HdrHistogram V2, compressed, base64
}

func jsonRows(rows []raw.Row) []rowJSON {
	out := make([]rowJSON, len(rows))
	for i, r := range rows {
		j := rowJSON{Method: r.Method, SizeBytes: r.Size, CadenceUs: float64(r.Cadence) / 1e3, Writers: r.Writers}
		if r.Err != nil {
			j.Error = r.Err.Error()
			out[i] = j
			continue
		}
		p := func(q float64) *float64 {
			d, ok := r.Percentile(q)
			if !ok {
				return nil
			}
			us := float64(d) / 1e3
			return &us
		}
		j.Writes, j.PerSecond = r.Latency.TotalCount(), r.PerSecond()
		j.P50Us, j.P99Us, j.P999Us = p(50), p(99), p(99.9)
		if a, ok := r.Amplification(); ok {
			j.DevicePerUser = &a
		}
		b, err := r.Latency.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
		if err != nil {
			panic(fmt.Sprintf("walbench: a histogram of %d samples cannot be encoded: %v", j.Writes, err))
		}
		j.Histogram = string(b)
		out[i] = j
	}
	return out
}

func writeJSON(out io.Writer, v any) error {
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
