package ring

import (
	"errors"
	"fmt"
	"io"

	"ackline/broker/id"
	"ackline/broker/vfs"
)

// Scan reads the live part of the ring in order and decides where it ends and why. It writes nothing and decodes no
// records.
type Scan struct {
	file   *File
	super  Super
	stream *stream
	limit  id.LSN // head plus the ring's size: what lies there would be the head again

	// Of the batches so far.
	any        bool
	generation uint64
	prev       id.LSN // 0: not known, after a gap
	buf        [2][]byte
	turn       int
}

// Verdict is what a scan found.
type Verdict struct {
	End    id.LSN // behind the last valid batch before any damage
	Torn   bool   // a batch begins at end and is not whole
	Newest uint64 // the highest generation of any valid batch, those behind damage included
	Damage *CorruptError
}

// CorruptError says that bytes which were synced are no longer what they were. What they said is lost: entries, and votes.
// Any group of the node may be affected, since nothing tells what the bad batch held; Groups are those that are known to
// have records in the WAL.
type CorruptError struct {
	Path   string
	At     id.LSN // of the batch that should be there
	Pos    int64  // its place in the file
	Reason error  // what is wrong with it
	// Later is the batch that was written after the bad one had been synced; 0 if it is the superblock that says so.
	Later  id.LSN
	Groups []id.GroupID
}

func (e *CorruptError) Error() string {
	proof := "the superblock"
	if e.Later != 0 {
		proof = fmt.Sprintf("the batch at LSN %d", e.Later)
	}
	return fmt.Sprintf("wal: %s: the batch at LSN %d (pos %d) is damaged: %v; it was synced before %s was written, so this is no "+
		"torn tail: replace the node's replicas under new ReplicaIDs (%d groups have records here)",
		e.Path, e.At, e.Pos, e.Reason, proof, len(e.Groups))
}

func (e *CorruptError) Unwrap() error { return ErrCorrupt }

var (
	errCRC   = errors.New("the CRC does not match")
	errFull  = errors.New("the ring's end")
	errOther = errors.New("a batch of another ring or lap")
)

// NewScan begins at the superblock's head.
func NewScan(f *File, s Super) *Scan {
	limit := s.Head + id.LSN(f.size)
	ahead := limit
	if s.Bound != 0 {
		ahead = min(limit, s.Bound)
	}
	return &Scan{file: f, super: s, limit: limit, stream: newStream(f, s.Head, ahead, limit)}
}

// Run gives each valid batch to f, in order, and those behind damage to lost, which may be nil. The bytes, header to end of
// payload, are valid until the call after the next, those of f's last call for good.
func (c *Scan) Run(f, lost func(h Header, batch []byte) error) (v Verdict, err error) {
	defer c.stream.close()
	for at := c.super.Head; at != 0; {
		h, batch, bad, err := c.read(at)
		if err != nil {
			return v, err
		}
		if bad != nil {
			if at, err = c.beyond(&v, at, bad); err != nil {
				return v, err
			}
			continue
		}
		give := f
		if v.Damage != nil {
			give = lost
		}
		if give != nil {
			if err := give(h, batch); err != nil {
				return v, fmt.Errorf("wal: %s: batch at LSN %d (pos %d): %w", c.file.path, h.LSN, c.file.Pos(h.LSN), err)
			}
		}
		c.any, c.generation, c.prev = true, h.Generation, h.LSN
		v.Newest, at = h.Generation, h.End()
		if at > c.super.Bound {
			c.super.Bound = 0 // it is not true: a superblock that was synced is not there
		}
	}
	return v, nil
}

// beyond decides what a bad batch means and returns where to go on, 0 at the end.
func (c *Scan) beyond(v *Verdict, at id.LSN, bad error) (id.LSN, error) {
	if v.Damage == nil {
		v.End, v.Torn = at, bad == errCRC
	}
	if c.clean(at) {
		return 0, nil
	}
	later, ok, err := c.search(at)
	if err != nil {
		return 0, err
	}
	if v.Damage == nil && (ok && c.proves(&later, at) || !ok && at < c.super.Synced) {
		v.Torn = false
		c.buf = [2][]byte{} // what f got last stays as it is
		v.Damage = &CorruptError{Path: c.file.path, At: at, Pos: c.file.Pos(at), Reason: bad}
		if ok {
			v.Damage.Later = later.LSN
		}
	}
	if !ok {
		return 0, nil
	}
	// Either damage, or a generation that began anew and repeats what is missing here.
	c.any, c.prev = c.any && later.Start(), 0
	return later.LSN, nil
}

// clean tells whether the superblock says that nothing was ever written behind at.
func (c *Scan) clean(at id.LSN) bool {
	return c.super.Clean() && at == c.super.Synced && c.generation == c.super.Generation
}

// read reads the batch at l; bad says why there is none that goes on from the last.
func (c *Scan) read(l id.LSN) (h Header, batch []byte, bad, err error) {
	if l >= c.limit {
		return h, nil, errFull, nil
	}
	p, err := c.stream.bytes(l)
	if err != nil {
		return h, nil, nil, err
	}
	if h, bad = ParseHeader(p, c.file.size); bad == nil {
		bad = c.follows(&h, l)
	}
	if bad != nil {
		return h, nil, bad, nil
	}
	n := HeaderSize + int(h.Length)
	buf := &c.buf[c.turn]
	if len(*buf) < n {
		*buf = make([]byte, max(n, 2*len(*buf)))
	}
	batch = (*buf)[:n]
	if err := c.stream.copy(batch, l); err != nil {
		return h, nil, nil, err
	}
	if !checkCRC(batch) {
		return h, nil, errCRC, nil
	}
	c.turn = 1 - c.turn
	return h, batch, nil, nil
}

// here tells whether h was written for this place.
func (c *Scan) here(h *Header, l id.LSN) error {
	switch {
	case h.RingID != c.file.id || h.LSN != l:
		return errOther
	case h.End() > c.limit:
		return errFull
	}
	return nil
}

// follows tells whether h continues the batches so far.
func (c *Scan) follows(h *Header, l id.LSN) error {
	if err := c.here(h, l); err != nil || !c.any {
		return err
	}
	switch {
	case c.prev != 0 && h.Prev != c.prev:
		return fmt.Errorf("it follows the batch at LSN %d, and here the last is %d", h.Prev, c.prev)
	case h.Start() && h.Generation <= c.generation || !h.Start() && h.Generation != c.generation:
		return fmt.Errorf("its generation is %d (start: %v), and here the last is %d", h.Generation, h.Start(), c.generation)
	}
	return nil
}

// proves tells whether h, which is valid, shows that the bytes before it are not what they were: x was durable, or h itself
// lies at x and names another predecessor.
func (c *Scan) proves(h *Header, x id.LSN) bool { return h.Durable > x || h.LSN == x }

// searchBytes bounds how far search looks when no bound is known: in a ring of format 1, and while one superblock is not
// valid. What proves that x was durable was written right behind it, and no batch is larger than a few MiB, so within this
// distance only damage that has eaten every batch of it could hide the proof. Looking through the rest of a large ring would cost
// more than reading what lives in it.
const searchBytes = 64 << 20

// search looks at x, where no batch goes on from the last, and behind for a batch that shows what became of it: that what
// should be there was durable, or that it was replaced. ok is false when there is none, so that x is the end.
func (c *Scan) search(x id.LSN) (h Header, ok bool, err error) {
	end := c.super.Bound
	if end == 0 {
		end = x + searchBytes
	}
	var body []byte
	for l := x; l < min(c.limit, end); l += vfs.BlockSize {
		p, err := c.stream.bytes(l)
		if err == io.EOF {
			break
		}
		if err != nil {
			return h, false, err
		}
		var bad error
		if h, bad = ParseHeader(p, c.file.size); bad != nil || c.here(&h, l) != nil || h.Generation < c.generation {
			continue
		}
		if !c.proves(&h, x) && !(h.Start() && h.Generation > c.generation) {
			continue
		}
		if int64(len(body)) < h.Size() {
			body = vfs.Aligned(int(h.Size()))
		}
		if err := c.file.Read(body[:h.Size()], l); err != nil {
			return h, false, err
		}
		if checkCRC(body[:HeaderSize+int(h.Length)]) {
			return h, true, nil
		}
	}
	return h, false, nil
}

// Leftovers gives the headers that lie in [from, to), a part of the ring that is not in use, and were written for their
// place in an earlier lap or generation. Their payloads are not checked.
func (f *File) Leftovers(from, to id.LSN, give func(h Header)) error {
	s := newStream(f, from, to, to)
	defer s.close()
	for l := from; l < to; l += vfs.BlockSize {
		b, err := s.bytes(l)
		if err != nil {
			return err
		}
		h, bad := ParseHeader(b, f.size)
		if bad == nil && h.RingID == f.id && f.Pos(h.LSN) == f.Pos(l) {
			give(h)
		}
	}
	return nil
}
