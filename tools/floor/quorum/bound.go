package quorum

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"ackline/broker/syncmethod"
	"ackline/broker/vfs"
	"ackline/tools/floor/echo"
	"ackline/tools/floor/link"
	"ackline/tools/floor/sock"
	"ackline/tools/stats"
)

// Bar is how much slower than what it is checked against the floor's p50 may be with one request outstanding. Above it the
// floor does more than it must, and would flatter what stands beside it.
const Bar = 1.10

// Parts is what an answer of the quorum consists of, each part measured in straight lines of calls, without Leader.
type Parts struct {
	Rounds     int
	PeerEchoUs []float64 // p50 of a follower's answer without a disk, in the order of Followers, all asked at once
	SyncUs     []float64 // p50 of the write alone: the leader's own, then each follower's, all writing at once
	CommitUs   float64   // p50 of the sum: the majority-th fastest of own sync and each follower's echo + sync
	TrialUs    float64   // p50 of the same as it came out: the majority-th fastest of own sync and each follower's answer
}

// BoundUs is the p50 that a quorum of these parts has if nothing is added to them:
//
//	client echo + majority-th smallest of { own sync, peer echo 1 + sync 1, peer echo 2 + sync 2, … }
//
// clientEchoUs is the p50 of a bare TCP echo between the client and the leader. The second term is CommitUs, taken within
// each round and then over the rounds: the faster of two disks is faster than either disk's median. With equal nodes it is
// about raw sync + two TCP echoes, raw sync being that of all nodes at once, since they may share a disk.
//
// No program reaches it where the nodes share processors, because a part that is measured alone has one for itself. By how
// much is seen in TrialUs against CommitUs. So Bar applies to it only where every node has processors of its own (at least
// two each, and one for the client); Straight, which shares them in the same way, is what the floor is checked against
// everywhere.
func (p Parts) BoundUs(clientEchoUs float64) float64 { return clientEchoUs + p.CommitUs }

// MeasureConfig is what Measure needs to know.
type MeasureConfig struct {
	Followers  []string
	Own        echo.Appender // the leader's disk; nobody else may write to it meanwhile
	BlockBytes int           // size of a write, a multiple of echo.BlockSize: what the requests measured come to
	Cadence    time.Duration // pause between two rounds; 0: back to back
	Rounds     int           // at most so many of each kind
	Limit      time.Duration // and no new round of a kind after so long
}

// Measure asks live followers for the parts, beside whatever they do for other leaders. It belongs on the leader's node.
// Each follower is pinged, all at once; then each makes a block durable, while the leader does so on Own.
func Measure(ctx context.Context, cfg MeasureConfig) (p Parts, err error) {
	if cfg.BlockBytes < echo.BlockSize || cfg.BlockBytes%echo.BlockSize != 0 || cfg.Rounds < 1 {
		return p, fmt.Errorf("floor: measure %d rounds of %d bytes, want at least one of a multiple of %d", cfg.Rounds, cfg.BlockBytes, echo.BlockSize)
	}
	pacer, err := syncmethod.NewPacer()
	if err != nil {
		return p, err
	}
	defer pacer.Close()
	m := &meter{cfg: cfg, clock: pacer, block: vfs.Aligned(cfg.BlockBytes)}
	defer m.close()
	for _, addr := range cfg.Followers {
		fd, err := link.DialUntil(ctx, addr, cfg.BlockBytes)
		if err != nil {
			return p, fmt.Errorf("floor: follower %s: %w", addr, err)
		}
		m.polls = append(m.polls, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
	}
	echoUs, _, err := m.run(ctx, link.KindPing)
	if err != nil {
		return p, err
	}
	for _, us := range echoUs {
		p.PeerEchoUs = append(p.PeerEchoUs, stats.Median(us))
	}
	tripUs, syncUs, err := m.run(ctx, link.KindTrial)
	if err != nil {
		return p, err
	}
	p.Rounds = len(syncUs[0])
	for _, us := range syncUs {
		p.SyncUs = append(p.SyncUs, stats.Median(us))
	}
	p.CommitUs = commitUs(p.PeerEchoUs, syncUs)
	p.TrialUs = commitUs(make([]float64, len(tripUs)), append([][]float64{syncUs[0]}, tripUs...))
	return p, nil
}

// commitUs is the median over rounds of the majority-th smallest time at which a copy is durable and known to be.
func commitUs(peerEchoUs []float64, syncUs [][]float64) float64 {
	var commits []float64
	times := make([]float64, len(syncUs))
	for r := range syncUs[0] {
		times[0] = syncUs[0][r]
		for i, e := range peerEchoUs {
			times[i+1] = e + syncUs[i+1][r]
		}
		slices.Sort(times)
		commits = append(commits, times[Majority(len(peerEchoUs))-1])
	}
	return stats.Median(commits)
}

// meter is one straight line of calls: no loop, no queue.
type meter struct {
	cfg   MeasureConfig
	clock syncmethod.Clock
	polls []unix.PollFd // the followers
	block []byte
	seq   uint64
	ack   [link.AckBytes]byte
}

// run returns each follower's round trips, and each copy's writes with the leader's own first.
func (m *meter) run(ctx context.Context, kind uint64) (tripUs, writeUs [][]float64, err error) {
	tripUs, writeUs = make([][]float64, len(m.polls)), make([][]float64, len(m.polls)+1)
	trips, writes := make([]int64, len(m.polls)), make([]int64, len(m.polls)+1) // ns
	for start := m.clock.Now(); len(tripUs[0]) < m.cfg.Rounds && (len(tripUs[0]) == 0 || m.clock.Now()-start < int64(m.cfg.Limit)); {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		m.clock.SleepUntil(m.clock.Now() + int64(m.cfg.Cadence))
		if err := m.round(kind, trips, writes); err != nil {
			return nil, nil, err
		}
		for i, ns := range trips {
			tripUs[i] = append(tripUs[i], float64(ns)/1e3)
		}
		for i, ns := range writes {
			writeUs[i] = append(writeUs[i], float64(ns)/1e3)
		}
	}
	return tripUs, writeUs, nil
}

func (m *meter) round(kind uint64, trips, writes []int64) error {
	m.seq++
	b := m.block[:echo.HeaderBytes]
	h := link.Message{Header: echo.Header{Sequence: m.seq}, Kind: kind}
	if kind == link.KindTrial { // one frame that fills the block
		h.PayloadLen, h.Frames = len(m.block)-echo.HeaderBytes, 1
		binary.BigEndian.PutUint32(m.block[echo.HeaderBytes:], uint32(h.PayloadLen-4))
		b = m.block
	}
	link.PutMessage(m.block, h)
	start := m.clock.Now()
	for i, p := range m.polls {
		trips[i] = -1
		if err := send(int(p.Fd), b); err != nil {
			return fmt.Errorf("floor: follower %s: %w", m.cfg.Followers[i], err)
		}
	}
	if kind == link.KindTrial {
		link.PutMessage(m.block, link.Message{Header: h.Header, Kind: link.KindBatch}) // what blocks on disk have
		before := m.clock.Now()
		if err := m.cfg.Own.Append(m.block); err != nil {
			return fmt.Errorf("floor: trial write: %w", err)
		}
		writes[0] = m.clock.Now() - before
	}
	for left := len(m.polls); left > 0; {
		if err := wait(m.polls); err != nil {
			return err
		}
		for i := range m.polls {
			if m.polls[i].Revents == 0 {
				continue
			}
			seq, ns, err := m.read(int(m.polls[i].Fd))
			if err == nil && (seq != m.seq || trips[i] >= 0) {
				err = fmt.Errorf("acknowledged sequence %d, want %d once", seq, m.seq)
			}
			if err != nil {
				return fmt.Errorf("floor: follower %s: %w", m.cfg.Followers[i], err)
			}
			trips[i], writes[i+1] = m.clock.Now()-start, int64(ns)
			left--
		}
	}
	return nil
}

// wait blocks until one of the sockets is ready.
func wait(polls []unix.PollFd) error {
	for {
		switch n, err := unix.Poll(polls, int(link.Timeout/time.Millisecond)); {
		case err == unix.EINTR:
		case err != nil:
			return os.NewSyscallError("poll", err)
		case n == 0:
			return fmt.Errorf("floor: no follower answers for %v", link.Timeout)
		default:
			return nil
		}
	}
}

// send writes all of b, which is less than a socket buffer and alone in it.
func send(fd int, b []byte) error {
	for len(b) > 0 {
		n, errno := sock.Write(fd, b)
		switch errno {
		case 0:
			b = b[n:]
		case unix.EINTR:
		case unix.EAGAIN:
			if err := wait([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}); err != nil {
				return err
			}
		default:
			return errno
		}
	}
	return nil
}

// read takes one acknowledgement, which is one segment.
func (m *meter) read(fd int) (seq, writeNs uint64, err error) {
	n, errno := sock.Read(fd, m.ack[:])
	if errno != 0 {
		return 0, 0, errno
	}
	if n != link.AckBytes {
		return 0, 0, fmt.Errorf("%d bytes, want %d", n, link.AckBytes)
	}
	seq, writeNs = link.ParseAck(m.ack[:])
	return seq, writeNs, nil
}

func (m *meter) close() {
	for _, p := range m.polls {
		unix.Close(int(p.Fd))
	}
}
