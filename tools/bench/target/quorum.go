package target

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"ackline/tools/bench/proc"
)

// StartQuorum starts a floor of several nodes, each with a directory of its own below c.Dir, and waits until its leader serves.
// With one node it is StartFloor.
func (p Programs) StartQuorum(ctx context.Context, c FloorConfig, nodes int) (*Floor, error) {
	if nodes == 1 {
		return p.StartFloor(ctx, c)
	}
	return p.StartQuorumOn(ctx, c, slices.Repeat([]Seat{{Host: c.Host}}, nodes), 0)
}

// Seat is where one node of a floor runs.
type Seat struct {
	Host  string                                // address to listen on
	Enter func(start func() error) error        // as proc.Spec has it
	Finds func(follower string) (string, error) // where a leader on this seat finds a follower that listens there; nil: there
}

// StartQuorumOn starts a floor with a node on each of several seats, led from the one with the number lead.
func (p Programs) StartQuorumOn(ctx context.Context, c FloorConfig, seats []Seat, lead int) (*Floor, error) {
	ctx, cancel := context.WithTimeout(ctx, StartTimeout)
	defer cancel()
	q := &Floor{}
	node := func(i int, seat Seat, args ...string) (*Floor, error) {
		dir := filepath.Join(c.Dir, strconv.Itoa(i))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
		args = append([]string{"serve", "--dir", dir, "--ring-bytes", strconv.FormatInt(c.RingBytes, 10), "--method", c.SyncMethod,
			"--listen-addr", seat.Host + ":0"}, args...)
		return p.startQuorumNode(ctx, c, numbered(c.Log, i), args, seat.Enter)
	}
	var addrs []string
	for i, seat := range seats {
		if i == lead {
			continue
		}
		f, err := node(len(addrs)+2, seat, "--follow")
		if err != nil {
			q.Kill()
			return nil, err
		}
		q.followers = append(q.followers, f)
		at := f.Addr
		if find := seats[lead].Finds; find != nil {
			if at, err = find(f.Addr); err != nil {
				q.Kill()
				return nil, err
			}
		}
		addrs = append(addrs, at)
	}
	args := []string{"--followers", strings.Join(addrs, ","), "--reply-bytes", strconv.Itoa(c.ReplyBytes)}
	if c.Straight {
		args = append(args, "--straight")
	}
	leader, err := node(1, seats[lead], args...)
	if err != nil {
		q.Kill()
		return nil, err
	}
	leader.followers = q.followers
	if f := proc.Fields(leader.Line()); f["nodes"] != strconv.Itoa(len(seats)) || f["reply_bytes"] != strconv.Itoa(c.ReplyBytes) {
		leader.Kill()
		return nil, fmt.Errorf("floor: ready line %q: asked for %d nodes and %d bytes", leader.Line(), len(seats), c.ReplyBytes)
	}
	return leader, nil
}

func (p Programs) startQuorumNode(ctx context.Context, c FloorConfig, log string, args []string, enter func(func() error) error) (*Floor, error) {
	child, err := proc.Start(ctx, proc.Spec{Name: "floor", Path: p.Floor, Args: args, Log: log, Ready: "floor ready", Enter: enter})
	if err != nil {
		return nil, err
	}
	f := proc.Fields(child.Line())
	v, err := strconv.Atoi(f["floor_version"])
	if err == nil && (f["addr"] == "" || f["method"] != c.SyncMethod) {
		err = fmt.Errorf("asked for method %s", c.SyncMethod)
	}
	if err != nil {
		child.Kill()
		return nil, fmt.Errorf("floor: ready line %q: %w", child.Line(), err)
	}
	return &Floor{Process: child, Addr: f["addr"], Version: v, Method: f["method"]}, nil
}

// PIDs are the process ids, the leader's in front; none of a floor that is elsewhere.
func (f *Floor) PIDs() []int {
	all := []*proc.Process{f.Process}
	for _, o := range f.followers {
		all = append(all, o.Process)
	}
	return pids(all...)
}

// FollowerAddrs are where the followers of a quorum listen, none of a single floor.
func (f *Floor) FollowerAddrs() []string {
	var out []string
	for _, o := range f.followers {
		out = append(out, o.Addr)
	}
	return out
}

// Err says which of a floor's processes have ended by themselves, nil when all run.
func (f *Floor) Err() error {
	errs := []error{f.Process.Err()}
	for _, o := range f.followers {
		errs = append(errs, o.Err())
	}
	return errors.Join(errs...)
}

// Stop asks all of a floor's processes to end, the leader first, so that it does not miss its followers.
func (f *Floor) Stop(timeout time.Duration) error {
	err := f.Process.Stop(timeout)
	for _, o := range f.followers {
		err = errors.Join(err, o.Stop(timeout))
	}
	return err
}

// Kill is kill -9 of all of a floor's processes.
func (f *Floor) Kill() {
	f.Process.Kill()
	for _, o := range f.followers {
		o.Kill()
	}
}
