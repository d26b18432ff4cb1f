package main

import (
	"encoding/json"
	"fmt"
	"io"

	"ackline/broker/id"
	"ackline/broker/wal/ring"
)

// batch is one batch as it is printed.
type batch struct {
	Type       string   `json:"type"` // "batch"
	LSN        id.LSN   `json:"lsn"`
	Pos        int64    `json:"pos"`
	Generation uint64   `json:"generation"`
	Start      bool     `json:"starts_generation,omitempty"`
	Repeats    id.LSN   `json:"repeats_from_lsn,omitempty"` // of one that starts a generation
	Prev       id.LSN   `json:"previous_lsn"`
	Bytes      int64    `json:"bytes"` // in the ring, padding included
	Lost       bool     `json:"behind_damage,omitempty"`
	Records    []record `json:"records"`
	Malformed  string   `json:"malformed,omitempty"`
}

// record is one record; which fields are set depends on its kind.
type record struct {
	Kind    string       `json:"kind"`
	Group   id.GroupID   `json:"group"`
	Replica id.ReplicaID `json:"replica,omitempty"`
	Index   id.Index     `json:"index,omitempty"` // flushed, or of the snapshot
	Term    id.Term      `json:"term,omitempty"`  // of Index
	Hard    *hard        `json:"hard_state,omitempty"`
	Payload int          `json:"payload_bytes,omitempty"`
	Entries []entry      `json:"entries,omitempty"`
}

type hard struct {
	Term   id.Term      `json:"term"`
	Vote   id.ReplicaID `json:"vote"`
	Commit id.Index     `json:"commit"`
}

type entry struct {
	Index id.Index `json:"index"`
	Term  id.Term  `json:"term"`
	Type  uint8    `json:"entry_type"`
	Bytes int      `json:"bytes"`
}

// end is what is known once everything was read.
type end struct {
	ring.Verdict
	Batches   int // live
	Records   int
	Entries   int
	Bytes     int64
	Groups    map[id.GroupID]bool
	Malformed int
	Stale     int    // batches of earlier laps and generations in the rest of the ring
	Newest    id.LSN // of these
	Oldest    id.LSN
}

// printer prints, for people or for scripts.
type printer interface {
	file(path string, f *ring.File, counts uint64, both [2]ring.SuperOrErr)
	batch(b *batch)
	end(f *ring.File, e *end)
}

// dumper turns what a scan finds into what is printed.
type dumper struct {
	cli   *cli
	file  *ring.File
	print printer
	end   end
}

func (d *dumper) batch(h ring.Header, bytes []byte) error { return d.show(h, bytes, false) }
func (d *dumper) lost(h ring.Header, bytes []byte) error  { return d.show(h, bytes, true) }

func (d *dumper) show(h ring.Header, bytes []byte, lost bool) error {
	b := &batch{Type: "batch", LSN: h.LSN, Pos: d.file.Pos(h.LSN), Generation: h.Generation, Start: h.Start(),
		Prev: h.Prev, Bytes: h.Size(), Lost: lost, Records: []record{}}
	if h.Start() {
		b.Repeats = h.Durable
	}
	if err := d.decode(b, bytes, h.Records); err != nil {
		b.Malformed = err.Error()
		d.end.Malformed++
	}
	if !lost {
		d.end.Batches++
		d.end.Bytes += h.Size()
	}
	wanted := d.cli.Group == 0 || len(b.Records) > 0
	if b.Malformed != "" || !d.cli.Verify && wanted && uint64(h.LSN) >= d.cli.From {
		d.print.batch(b)
	}
	return nil
}

func (d *dumper) decode(b *batch, bytes []byte, records uint32) error {
	w := ring.Walk(bytes, records)
	for {
		r, ok, err := w.Next()
		if err != nil || !ok {
			return err
		}
		out, err := decode(&r)
		if err != nil {
			return err
		}
		if d.end.Groups == nil {
			d.end.Groups = map[id.GroupID]bool{}
		}
		d.end.Groups[r.Group] = true
		d.end.Records++
		d.end.Entries += len(out.Entries)
		if d.cli.Group == 0 || uint64(r.Group) == d.cli.Group {
			b.Records = append(b.Records, out)
		}
	}
}

func decode(r *ring.Record) (record, error) {
	out := record{Kind: r.Kind.String(), Group: r.Group, Replica: r.Replica}
	switch r.Kind {
	case ring.Entries:
		w := r.Entries()
		for {
			e, ok, err := w.Next()
			if err != nil || !ok {
				return out, err
			}
			if crc := ring.DataCRC(e.Data); crc != e.CRC {
				return out, fmt.Errorf("group %d: entry %d has CRC %08x, %08x was written", r.Group, e.Index, crc, e.CRC)
			}
			out.Entries = append(out.Entries, entry{e.Index, e.Term, e.Type, len(e.Data)})
		}
	case ring.Checkpoint, ring.Snapshot:
		out.Index, out.Term, out.Payload = r.Index, r.Term(), len(r.State())
	}
	if r.Kind == ring.Hard || r.Kind == ring.Checkpoint {
		hs := r.HardState()
		out.Hard = &hard{hs.Term, hs.Vote, hs.Commit}
	}
	return out, nil
}

func (d *dumper) leftover(h ring.Header) {
	e := &d.end
	if e.Stale == 0 {
		e.Newest, e.Oldest = h.LSN, h.LSN
	}
	e.Stale++
	e.Newest, e.Oldest = max(e.Newest, h.LSN), min(e.Oldest, h.LSN)
}

// text prints for people.
type text struct{ out io.Writer }

func (t *text) file(path string, f *ring.File, counts uint64, both [2]ring.SuperOrErr) {
	fmt.Fprintf(t.out, "%s: ring %016x of %d bytes\n", path, f.ID(), f.Size())
	for i, s := range both {
		if s.Err != nil {
			fmt.Fprintf(t.out, "superblock at pos %d: %v\n", i*4096, s.Err)
			continue
		}
		fmt.Fprintf(t.out, "superblock at pos %d: number %d  head LSN %d  synced LSN %d  bound %d  generation %d", i*4096, s.Seq, s.Head, s.Synced, s.Bound, s.Generation)
		if s.Clean() {
			fmt.Fprint(t.out, "  closed cleanly")
		}
		if s.Seq == counts {
			fmt.Fprint(t.out, "  <- counts")
		}
		fmt.Fprintln(t.out)
	}
}

func (t *text) batch(b *batch) {
	mark := ""
	if b.Lost {
		mark = "! "
	}
	fmt.Fprintf(t.out, "%sLSN %d  pos %d  %d bytes  generation %d", mark, b.LSN, b.Pos, b.Bytes, b.Generation)
	if b.Start {
		fmt.Fprintf(t.out, " begins here")
		if b.Repeats != b.LSN {
			fmt.Fprintf(t.out, ", repeating what was at LSN %d", b.Repeats)
		}
	}
	fmt.Fprintln(t.out)
	for i := range b.Records {
		r := &b.Records[i]
		fmt.Fprintf(t.out, "%s    group %d", mark, r.Group)
		if r.Replica != 0 {
			fmt.Fprintf(t.out, " replica %d", r.Replica)
		}
		fmt.Fprintf(t.out, "  %s%s\n", r.Kind, details(r))
	}
	if b.Malformed != "" {
		fmt.Fprintf(t.out, "%s    MALFORMED: %s\n", mark, b.Malformed)
	}
}

func details(r *record) (s string) {
	if n := len(r.Entries); n > 0 {
		first, last, size := r.Entries[0], r.Entries[n-1], 0
		for _, e := range r.Entries {
			size += e.Bytes
		}
		s = fmt.Sprintf(" %s  term %s  %d bytes", span(first.Index, last.Index), span(first.Term, last.Term), size)
	}
	if r.Index != 0 || r.Kind == ring.Checkpoint.String() {
		s = fmt.Sprintf(" at %d  term %d  payload %d bytes", r.Index, r.Term, r.Payload)
	}
	if r.Hard != nil {
		s += fmt.Sprintf("  (term %d vote %d commit %d)", r.Hard.Term, r.Hard.Vote, r.Hard.Commit)
	}
	return s
}

func span[T ~uint64](a, b T) string {
	if a == b {
		return fmt.Sprint(a)
	}
	return fmt.Sprintf("%d-%d", a, b)
}

func (t *text) end(f *ring.File, e *end) {
	what := "the end"
	switch {
	case e.Damage != nil:
		what = "a damaged batch: the end of what is sound"
	case e.Torn:
		what = "a torn batch, never acknowledged: the end"
	}
	fmt.Fprintf(t.out, "LSN %d  pos %d  %s\n", e.End, f.Pos(e.End), what)
	if e.Damage != nil {
		fmt.Fprintln(t.out, "DAMAGED:", e.Damage)
	}
	fmt.Fprintf(t.out, "live: %d batches, %d bytes, %d records, %d entries, %d groups\n", e.Batches, e.Bytes, e.Records, e.Entries, len(e.Groups))
	if e.Malformed > 0 {
		fmt.Fprintf(t.out, "MALFORMED: %d batches pass their CRC and make no sense\n", e.Malformed)
	}
	if e.Stale > 0 {
		fmt.Fprintf(t.out, "stale: %d batches of earlier laps or generations, LSN %s\n", e.Stale, span(e.Oldest, e.Newest))
	}
}

// lines prints one JSON object per line.
type lines struct{ enc *json.Encoder }

func newLines(out io.Writer) *lines {
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	return &lines{enc}
}

type object map[string]any

// put prints a value; an error comes again when the output is flushed.
func (l *lines) put(v any) { _ = l.enc.Encode(v) }

func (l *lines) file(path string, f *ring.File, counts uint64, both [2]ring.SuperOrErr) {
	l.put(object{"type": "file", "path": path, "ring_id": fmt.Sprintf("%016x", f.ID()), "ring_bytes": f.Size()})
	for i, s := range both {
		o := object{"type": "superblock", "pos": i * 4096}
		if s.Err != nil {
			o["error"] = s.Err.Error()
		} else {
			o["number"], o["head_lsn"], o["synced_lsn"], o["bound_lsn"], o["generation"] = s.Seq, s.Head, s.Synced, s.Bound, s.Generation
			o["clean"], o["counts"] = s.Clean(), s.Seq == counts
		}
		l.put(o)
	}
}

func (l *lines) batch(b *batch) { l.put(b) }

func (l *lines) end(f *ring.File, e *end) {
	o := object{"type": "end", "lsn": e.End, "pos": f.Pos(e.End), "torn": e.Torn, "live_batches": e.Batches,
		"live_bytes": e.Bytes, "live_records": e.Records, "live_entries": e.Entries, "groups": len(e.Groups), "malformed_batches": e.Malformed,
		"stale_batches": e.Stale}
	if e.Damage != nil {
		o["damage"] = object{"lsn": e.Damage.At, "pos": e.Damage.Pos, "reason": e.Damage.Reason.Error(), "later_lsn": e.Damage.Later}
	}
	l.put(o)
}
