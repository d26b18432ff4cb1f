package echo

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"ackline/broker/syncmethod"
	"ackline/broker/vfs"
)

// Served from a real file with every method, what was answered can be read back from the disk, wraps included.
func TestRingHoldsWhatWasAnswered(t *testing.T) {
	for _, m := range syncmethod.All() {
		t.Run(string(m), func(t *testing.T) {
			name := filepath.Join(t.TempDir(), "ring")
			ring, err := CreateRing(vfs.OS(), name, MinRingBytes, m)
			if err != nil {
				if errors.Is(err, syscall.EINVAL) {
					t.Skipf("needs o_direct: %v", err)
				}
				t.Fatal(err)
			}
			s, _ := start(t, Config{BatchBytes: 1 << 20}, ring)
			c := dial(t, s)
			rng := rand.New(rand.NewPCG(1, 5))
			sent := map[uint32][]byte{}
			for id := range uint32(40) { // 40 × 300 KiB: one wrap and a half
				f := frame(rng, id, 300<<10)
				sent[id] = f
				go c.Write(f)
				expect(t, c, id, DefaultReplyBytes)
			}
			f, err := os.Open(name)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			newest := uint32(0)
			sum, err := Verify(f, MinRingBytes, func(h Header, frame []byte) error {
				id := binary.BigEndian.Uint32(frame[8:])
				newest = max(newest, id)
				if string(sent[id]) != string(frame) {
					return fmt.Errorf("request %d differs from what was sent", id)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			// 8 MiB hold 26 blocks of 76 pages each; the older lap's are intact behind the newest.
			if newest != 39 || sum.Last != 40 || sum.Blocks != 26 {
				t.Errorf("%+v with request %d as the newest, want 26 blocks up to request 39", sum, newest)
			}
			if err := ring.Remove(); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(name); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the file is still there: %v", err)
			}
		})
	}
}

func TestCreateRingRefuses(t *testing.T) {
	dir := t.TempDir()
	for _, size := range []int64{0, MinRingBytes - BlockSize, MinRingBytes + 1} {
		if _, err := CreateRing(vfs.OS(), filepath.Join(dir, "r"), size, syncmethod.BufferedDsync); err == nil {
			t.Errorf("a ring of %d bytes was accepted", size)
		}
	}
	theirs := filepath.Join(dir, "theirs")
	if err := os.WriteFile(theirs, []byte("precious"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := CreateRing(vfs.OS(), theirs, MinRingBytes, syncmethod.BufferedDsync); !errors.Is(err, os.ErrExist) {
		t.Errorf("an existing file: %v, want it to be refused", err)
	}
	if b, err := os.ReadFile(theirs); err != nil || string(b) != "precious" {
		t.Errorf("the existing file holds %q, %v", b, err)
	}
	if _, err := CreateRing(vfs.OS(), filepath.Join(dir, "no"), MinRingBytes, "no-such-method"); err == nil {
		t.Error("an unknown method was accepted")
	}
}

// A ring that cannot be filled leaves nothing behind, and a failing write names file and position.
func TestRingErrors(t *testing.T) {
	fail := false
	mem := vfs.NewMem()
	fs := vfs.Inject(mem, func(op vfs.Op) error {
		if op.Kind == vfs.OpWrite && fail {
			return syscall.EIO
		}
		return nil
	})
	fail = true
	if _, err := CreateRing(fs, "ring", MinRingBytes, syncmethod.DirectDsync); !errors.Is(err, syscall.EIO) {
		t.Errorf("got %v, want the disk's error", err)
	}
	if names, _ := mem.List("."); len(names) != 0 {
		t.Errorf("left behind: %v", names)
	}
	fail = false
	r, err := CreateRing(fs, "ring", MinRingBytes, syncmethod.DirectDsync)
	if err != nil {
		t.Fatal(err)
	}
	block := vfs.Aligned(BlockSize)
	if err := r.Append(block); err != nil {
		t.Fatal(err)
	}
	fail = true
	if err := r.Append(block); !errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), "ring at 4096") {
		t.Errorf("got %v, want EIO with the file and the position", err)
	}
}
