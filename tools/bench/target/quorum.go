package target

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
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
	ctx, cancel := context.WithTimeout(ctx, StartTimeout)
	defer cancel()
	q := &Floor{}
	node := func(i int, args ...string) (*Floor, error) {
		dir := filepath.Join(c.Dir, strconv.Itoa(i))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
		args = append([]string{"serve", "--dir", dir, "--ring-bytes", strconv.FormatInt(c.RingBytes, 10), "--method", c.SyncMethod,
			"--listen-addr", c.Host + ":0"}, args...)
		return p.startQuorumNode(ctx, c, numbered(c.Log, i), args)
	}
	var addrs []string
	for i := 2; i <= nodes; i++ {
		f, err := node(i, "--follow")
		if err != nil {
			q.Kill()
			return nil, err
		}
		q.followers, addrs = append(q.followers, f), append(addrs, f.Addr)
	}
	lead, err := node(1, "--followers", strings.Join(addrs, ","), "--reply-bytes", strconv.Itoa(c.ReplyBytes))
	if err != nil {
		q.Kill()
		return nil, err
	}
	lead.followers = q.followers
	if f := proc.Fields(lead.Line()); f["nodes"] != strconv.Itoa(nodes) || f["reply_bytes"] != strconv.Itoa(c.ReplyBytes) {
		lead.Kill()
		return nil, fmt.Errorf("floor: ready line %q: asked for %d nodes and %d bytes", lead.Line(), nodes, c.ReplyBytes)
	}
	return lead, nil
}

func (p Programs) startQuorumNode(ctx context.Context, c FloorConfig, log string, args []string) (*Floor, error) {
	child, err := proc.Start(ctx, proc.Spec{Name: "floor", Path: p.Floor, Args: args, Log: log, Ready: "floor ready"})
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
