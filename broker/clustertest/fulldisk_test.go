package clustertest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// The small disk has room for all that a test writes while it has not filled it. ringMiB is what settings gives the WAL.
const (
	smallDiskMiB = 512
	ringMiB      = 16
)

// onSmallDisk gives a node that does not run yet a file system of its own for its data directory, which the test can fill.
func (n *node) onSmallDisk() {
	t := n.t
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: a small file system is mounted")
	}
	for _, command := range []string{"mkfs.ext4", "mount", "umount"} {
		if _, err := exec.LookPath(command); err != nil {
			t.Skip("needs " + command + ": a small file system is made and mounted")
		}
	}
	if err := os.Mkdir(n.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	image := n.dir + ".ext4"
	run := func(args ...string) (string, error) {
		out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
		return string(out), err
	}
	if out, err := run("mkfs.ext4", "-q", "-m", "0", image, fmt.Sprintf("%dM", smallDiskMiB)); err != nil { // nothing is kept for root
		t.Fatalf("%v: %s", err, out)
	}
	if out, err := run("mount", "-o", "loop", image, n.dir); err != nil {
		t.Skip("needs loop devices: " + err.Error() + " " + out)
	}
	t.Cleanup(func() { // behind those that end its processes
		if out, err := run("umount", n.dir); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	if err := os.Remove(filepath.Join(n.dir, "lost+found")); err != nil {
		t.Fatal(err)
	}
}

// fill takes all space of the node's small disk; free gives it back.
func (n *node) fill() (free func()) {
	n.t.Helper()
	name := filepath.Join(n.dir, "other.people")
	f, err := os.Create(name)
	if err != nil {
		n.t.Fatal(err)
	}
	defer f.Close()
	end := int64(0)
	for piece := int64(smallDiskMiB << 20); piece >= 1<<10; {
		switch err := syscall.Fallocate(int(f.Fd()), 0, end, piece); err {
		case nil:
			end += piece
		case syscall.ENOSPC:
			piece /= 2
		case syscall.EINTR:
		default:
			n.t.Fatal(err)
		}
	}
	return func() {
		n.t.Helper()
		if err := os.Remove(name); err != nil {
			n.t.Fatal(err)
		}
	}
}

// bulk is a load that nobody checks, which fills a ring that cannot be emptied.
type bulk struct {
	written atomic.Int64 // bytes that were acknowledged
	stop    func()
}

func startBulk(c *cluster) *bulk {
	c.t.Helper()
	c.create("bulk", 1, 3, nil)
	cl := c.client(kgo.DefaultProduceTopic("bulk"), kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.ProducerBatchMaxBytes(128<<10),
		kgo.MaxBufferedRecords(8))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	b := &bulk{stop: func() { cancel(); <-done }}
	go func() {
		defer close(done)
		defer cl.Close()
		for ctx.Err() == nil {
			cl.Produce(ctx, &kgo.Record{Value: make([]byte, 64<<10)}, func(r *kgo.Record, err error) {
				if err == nil {
					b.written.Add(int64(len(r.Value)))
				}
			})
		}
	}()
	c.t.Cleanup(b.stop)
	return b
}

// followOnly has a node lead nothing.
func (c *cluster) followOnly(n *node) {
	c.t.Helper()
	for p := range partitions + 1 {
		name := "bulk/0"
		if p < partitions {
			name = fmt.Sprintf("%s/%d", topic, p)
		}
		to := c.node(c.others(n.id)[p%2])
		until(c.t, fmt.Sprintf("%v to lead %s", to, name), func() bool {
			code, out, errOut := n.admin("transfer", name, "--to", fmt.Sprint(to.id))
			if code != 0 {
				c.t.Logf("transfer of %s: %s%s", name, out, errOut)
			}
			return code == 0
		})
	}
}

// TestFullDiskOfAFollower: nobody waits for a node whose disk is full, and with space it has everything again: with one other and
// without the third it is a majority.
func TestFullDiskOfAFollower(t *testing.T) {
	if !nightly() {
		t.Log("only in the nightly run: not every machine lets root mount a file")
		return
	}
	t.Parallel()
	c := describe(t, 3, impatient+tidy, false)
	n := c.nodes[0]
	n.onSmallDisk()
	c.start()
	l, w, b := startLoad(c), startWatch(c), startBulk(c)
	c.followOnly(n)
	l.goesOn(20)
	free := n.fill()
	until(t, "the node to say that its disk is full", func() bool { return n.said("the disk is full: ") })
	before := b.written.Load()
	until(t, "more to be written than the node's ring takes", func() bool { return b.written.Load() > before+ringMiB<<20*3/2 })
	l.goesOn(20)
	b.stop()
	l.check()
	free()
	until(t, "the node to say that there is space again", func() bool { return n.said("the disk has space again") })
	c.ready()
	until(t, "the node to have what it missed", func() bool { return c.behind() < 100 }) // under load never quite all
	c.nodes[1].kill()
	l.goesOn(20)
	c.nodes[1].start()
	c.ready()
	w.finish()
	l.finish()
}
