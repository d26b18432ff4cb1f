package ring

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"ackline/broker/id"
	"ackline/broker/syncmethod"
	"ackline/broker/vfs"
)

const (
	testRing = 1 << 20
	block    = vfs.BlockSize
	first    = id.LSN(testRing) // of a new ring
	testID   = 7
)

// page writes batches by hand.
type page struct {
	t   *testing.T
	fs  vfs.FS
	f   *File
	s   Super
	end id.LSN
}

func newPage(t *testing.T) *page {
	t.Helper()
	p := &page{t: t, fs: vfs.NewMem(), end: first}
	err := Create(p.fs, "/ring", syncmethod.BufferedDsync, testRing, testID, nil)
	if err == nil {
		p.f, p.s, err = Open(p.fs, "/ring", syncmethod.BufferedDsync)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.f.Close() })
	return p
}

// at writes a batch of so many blocks; LSN and RingID are filled in if they are 0, Durable is unless the batch starts a
// generation.
func (p *page) at(h Header, blocks int) id.LSN {
	p.t.Helper()
	if h.LSN == 0 {
		h.LSN = p.end
	}
	if !h.Start() {
		h.Durable = h.LSN
	}
	if h.RingID == 0 {
		h.RingID = testID
	}
	var b Builder
	b.Reset(block)
	b.Snapshot(id.GroupID(h.LSN/block), 1, 1, 1, make([]byte, (blocks-1)*block))
	_, bytes := b.Seal(&h)
	if err := p.f.Write(bytes, h.LSN); err != nil {
		p.t.Fatal(err)
	}
	p.end = h.End()
	p.s.Bound = max(p.s.Bound, p.end)
	return h.LSN
}

// damage damages the payload of the batch at l.
func (p *page) damage(l id.LSN) {
	p.t.Helper()
	b := vfs.Aligned(block)
	if err := p.f.Read(b, l); err != nil {
		p.t.Fatal(err)
	}
	b[HeaderSize+3] ^= 0x10
	if err := p.f.Write(b, l); err != nil {
		p.t.Fatal(err)
	}
}

// scan returns what is found, in blocks from the ring's first LSN.
func (p *page) scan() string {
	p.t.Helper()
	var got []string
	show := func(mark string) func(h Header, batch []byte) error {
		return func(h Header, batch []byte) error {
			got = append(got, fmt.Sprint((h.LSN-first)/block, mark))
			w := Walk(batch, h.Records)
			if _, ok, err := w.Next(); !ok || err != nil {
				return fmt.Errorf("record: %v, %w", ok, err)
			}
			return nil
		}
	}
	v, err := NewScan(p.f, p.s).Run(show(""), show("!"))
	if err != nil {
		p.t.Fatal(err)
	}
	end := fmt.Sprint("end ", int64(v.End-first)/block)
	if v.Torn {
		end += " torn"
	}
	if v.Damage != nil {
		end += fmt.Sprint(" damage ", (v.Damage.At-first)/block)
		if v.Damage.Later != 0 {
			end += fmt.Sprint(" says ", (v.Damage.Later-first)/block)
		}
	}
	return strings.Join(append(got, end), " ")
}

// chain writes ordinary batches of the given blocks that follow one another, and returns the LSNs.
func (p *page) chain(generation uint64, prev id.LSN, blocks ...int) (all []id.LSN) {
	p.t.Helper()
	for _, n := range blocks {
		prev = p.at(Header{Generation: generation, Prev: prev}, n)
		all = append(all, prev)
	}
	return all
}

func TestScan(t *testing.T) {
	for _, c := range []struct {
		name string
		make func(p *page)
		want string
	}{
		{"a new ring", func(p *page) {}, "end 0"},
		{"batches", func(p *page) { p.chain(1, 0, 1, 3, 2) }, "0 1 4 end 6"},
		{"torn tail", func(p *page) { p.damage(p.chain(1, 0, 1, 3, 2)[2]) }, "0 1 end 4 torn"},
		{"damage in the middle", func(p *page) { p.damage(p.chain(1, 0, 1, 3, 2, 1)[1]) }, "0 4! 6! end 1 damage 1 says 4"},
		{"damage at the head", func(p *page) { p.damage(p.chain(1, 0, 1, 3)[0]) }, "1! end 0 damage 0 says 1"},
		{"two damages", func(p *page) {
			l := p.chain(1, 0, 1, 1, 1, 1, 1)
			p.damage(l[1])
			p.damage(l[3])
		}, "0 2! 4! end 1 damage 1 says 2"},
		{"the superblock knows of a lost tail", func(p *page) {
			l := p.chain(1, 0, 1, 1)
			p.s.Synced = p.end
			p.damage(l[1])
		}, "0 end 1 damage 1"},
		{"a batch of another ring", func(p *page) {
			p.chain(1, 0, 1)
			p.at(Header{Generation: 1, Prev: first, RingID: testID + 1}, 1)
		}, "0 end 1"},
		{"an earlier lap", func(p *page) {
			l := p.chain(1, 0, 1)
			p.end = first - testRing + 1*block
			p.chain(1, first-testRing, 1, 1, 1)
			_ = l
		}, "0 end 1"},
		{"a batch that follows another one", func(p *page) {
			p.chain(1, 0, 1, 1)
			p.at(Header{Generation: 1, Prev: first}, 1)
		}, "0 1 2! end 2 damage 2 says 2"},
		{"an older generation behind a newer", func(p *page) {
			old := p.chain(1, 0, 1, 1, 1, 1)
			p.end = old[1]
			p.at(Header{Flags: FlagStart, Generation: 2, Prev: old[0], Durable: old[0]}, 1)
		}, "0 1 end 2"},
		{"a newer generation without its start", func(p *page) {
			p.chain(1, 0, 1)
			p.chain(2, first, 1)
		}, "0 1! end 1 damage 1 says 1"},
		{"a new generation", func(p *page) {
			l := p.chain(1, 0, 1, 2)
			s := p.at(Header{Flags: FlagStart, Generation: 2, Prev: l[1], Durable: l[1]}, 2)
			p.chain(2, s, 1)
		}, "0 1 3 5 end 6"},
		{"the batch that it repeats is lost", func(p *page) {
			l := p.chain(1, 0, 1, 2)
			s := p.at(Header{Flags: FlagStart, Generation: 2, Prev: l[1], Durable: l[1]}, 2)
			p.chain(2, s, 1)
			p.damage(l[1])
		}, "0 3 5 end 6"},
		{"two starts, and the first and its original are lost", func(p *page) {
			l := p.chain(1, 0, 1, 2)
			s := p.at(Header{Flags: FlagStart, Generation: 2, Prev: l[1], Durable: l[1]}, 2)
			p.at(Header{Flags: FlagStart, Generation: 3, Prev: s, Durable: l[1]}, 2)
			p.damage(l[1])
			p.damage(s)
		}, "0 5 end 7"},
		{"a start does not excuse what was durable before it", func(p *page) {
			l := p.chain(1, 0, 1, 2, 1)
			p.at(Header{Flags: FlagStart, Generation: 2, Prev: l[2], Durable: l[2]}, 1)
			p.damage(l[1])
		}, "0 3! 4! end 1 damage 1 says 3"},
		{"a start that is damaged, with batches behind it", func(p *page) {
			l := p.chain(1, 0, 1)
			s := p.at(Header{Flags: FlagStart, Generation: 2, Prev: l[0], Durable: l[0]}, 1)
			p.chain(2, s, 1)
			p.damage(s)
		}, "0 2! end 1 damage 1 says 2"},
		{"across the ring's end", func(p *page) {
			p.end = first + testRing - 3*block
			p.s.Head, p.s.Synced = p.end, p.end
			p.chain(1, 0, 2, 4, 1)
		}, "253 255 259 end 260"},
		{"nothing is read beyond a lap", func(p *page) {
			for prev, n := id.LSN(0), 0; n < 256; n++ {
				prev = p.at(Header{Generation: 1, Prev: prev}, 1)
			}
			p.s.Head = first + 200*block
			p.s.Synced = p.s.Head
		}, strings.Join(numbers(200, 256), " ") + " end 256"},
		{"a clean mark spares the search", func(p *page) {
			l := p.chain(1, 0, 1, 1)
			p.s.Flags, p.s.Generation, p.s.Synced = FlagClean, 1, p.end
			p.at(Header{Generation: 1, Prev: l[1], LSN: p.end + 5*block}, 1) // would be proof of damage
		}, "0 1 end 2"},
		{"a clean mark is void in the next generation", func(p *page) {
			l := p.chain(1, 0, 1)
			p.s.Flags, p.s.Generation, p.s.Synced = FlagClean, 1, p.end
			s := p.at(Header{Flags: FlagStart, Generation: 2, Prev: l[0], Durable: l[0]}, 1)
			p.damage(p.chain(2, s, 1, 1)[0])
		}, "0 1 3! end 2 damage 2 says 3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPage(t)
			c.make(p)
			if got := p.scan(); got != c.want {
				t.Errorf("found %s\n want %s", got, c.want)
			}
			p.s.Bound = 0
			if got := p.scan(); got != c.want {
				t.Errorf("without a bound, found %s\n want %s", got, c.want)
			}
		})
	}
}

// Nothing is searched for beyond the bound, and hardly anything is read there; but a bound that is not true is not believed.
func TestBound(t *testing.T) {
	p := newPage(t)
	l := p.chain(1, 0, 1, 1, 1, 1)
	p.damage(l[2])
	for bound, want := range map[id.LSN]string{
		l[1]:           "0 1 3! end 2 damage 2 says 3", // there is a batch beyond it, so it is not true
		l[2]:           "0 1 end 2 torn",
		l[3]:           "0 1 end 2 torn",
		l[3] + 1*block: "0 1 3! end 2 damage 2 says 3",
		0:              "0 1 3! end 2 damage 2 says 3",
	} {
		p.s.Bound = bound
		if got := p.scan(); got != want {
			t.Errorf("bound %d: found %s\n want %s", (bound-first)/block, got, want)
		}
	}
	f, w := stamped(t, 20)
	s := Super{RingID: testID, RingBytes: f.size, Head: id.LSN(f.size), Synced: id.LSN(f.size), Bound: id.LSN(f.size) + 5*block}
	if v, err := NewScan(f, s).Run(nil, nil); err != nil || v.End != s.Head || w.read.Load() != 5*block {
		t.Errorf("read %d bytes of an empty ring with %d up to the bound: %+v, %v", w.read.Load(), 5*block, v, err)
	}
}

func numbers(from, to int) (all []string) {
	for ; from < to; from++ {
		all = append(all, fmt.Sprint(from))
	}
	return all
}

// Of two superblocks the newer valid one counts, and a torn one never does.
func TestSuperblocks(t *testing.T) {
	p := newPage(t)
	for seq := p.s.Seq + 1; seq < 7; seq++ {
		p.s.Seq, p.s.Head, p.s.Synced = seq, first+id.LSN(seq)*block, first+id.LSN(seq)*block
		p.s.Bound = p.s.Synced + 2*block
		if err := p.f.WriteSuper(&p.s); err != nil {
			t.Fatal(err)
		}
		f, s, err := OpenReadOnly(p.fs, "/ring")
		if err != nil || s != p.s {
			t.Fatalf("found %+v, %v; want %+v", s, err, p.s)
		}
		f.Close()
	}
	tear := func(pos int64) {
		data, err := p.fs.Open("/ring", vfs.OpenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer data.Close()
		if _, err := data.WriteAt([]byte{0xff}, pos+20); err != nil {
			t.Fatal(err)
		}
	}
	tear(p.s.Pos())
	f, s, err := OpenReadOnly(p.fs, "/ring")
	if err != nil || s.Seq != p.s.Seq-1 || s.Bound != 0 {
		t.Fatalf("with the newer torn: found %+v, %v; want number %d, without a bound", s, err, p.s.Seq-1)
	}
	f.Close()
	tear(block - p.s.Pos())
	if _, _, err := OpenReadOnly(p.fs, "/ring"); !errors.Is(err, ErrCorrupt) {
		t.Errorf("with both damaged: %v", err)
	}
}

// A file that is shorter than its superblock says, and one that is none.
func TestOpenRefuses(t *testing.T) {
	p := newPage(t)
	f, err := p.fs.Open("/ring", vfs.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(dataStart + testRing - block); err != nil {
		t.Fatal(err)
	}
	if _, _, err := OpenReadOnly(p.fs, "/ring"); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "1110016 bytes long") {
		t.Errorf("a truncated file: %v", err)
	}
	if err := f.Truncate(100); err != nil {
		t.Fatal(err)
	}
	if _, _, err := OpenReadOnly(p.fs, "/ring"); err == nil || !strings.Contains(err.Error(), "read 100 bytes") {
		t.Errorf("a file of 100 bytes: %v", err)
	}
}

// Making a ring either happens or does not, at whatever moment the power goes.
func TestCreateSurvivesCrashes(t *testing.T) {
	for cut, done := int64(0), false; !done; cut++ {
		mem := vfs.NewMem()
		c := vfs.NewCutter(cut)
		err := Create(vfs.Inject(mem, c.Hook), "/ring", syncmethod.DirectDsync, testRing, testID, nil)
		done = !c.Done()
		if (err == nil) != done {
			t.Fatalf("cut at change %d: %v", cut, err)
		}
		for seed := range uint64(10) {
			after := mem.CrashClone(seed)
			if _, err := after.Stat("/ring"); err == nil {
				p := &page{t: t, fs: after}
				if p.f, p.s, err = Open(after, "/ring", syncmethod.DirectDsync); err != nil {
					t.Fatalf("cut at change %d, seed %d: %v", cut, seed, err)
				}
				if got := p.scan(); got != "end 0" {
					t.Errorf("cut at change %d, seed %d: found %s", cut, seed, got)
				}
				p.f.Close()
			} else if done {
				t.Errorf("seed %d: a ring that was made is not there: %v", seed, err)
			}
			if err := Create(after, "/ring2", syncmethod.DirectDsync, testRing, testID, nil); err != nil {
				t.Errorf("the next attempt: %v", err)
			}
		}
	}
}
