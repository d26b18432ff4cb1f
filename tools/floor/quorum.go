package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"
	"strings"
	"time"

	"ackline/tools/floor/echo"
	"ackline/tools/floor/quorum"
)

// quorumFlags make serve one node of several.
type quorumFlags struct {
	Followers      []string      `xor:"role" placeholder:"HOST:PORT,…" help:"Lead: forward every request to these floors, which run with --follow, and answer when a majority of all, this one included, has it on disk."`
	Straight       bool          `help:"With --followers: lead by the plainest program instead, for one client with one request outstanding. It is spared a thread that wakes for every acknowledgement, so the bench takes it where one request is outstanding."`
	Follow         bool          `xor:"role" help:"Follow: make durable what leaders send to --listen-addr, and answer no client."`
	WindowBytes    int           `default:"${window_bytes}" help:"With --followers: a copy that is so far behind gets no more until it has caught up, and does not count for what it did not get (${default})."`
	ConnectTimeout time.Duration `default:"20s" help:"With --followers: how long to wait at the start until all of them answer (${default})."`
}

// The trial that a leader makes of its quorum before it serves: as long as a median needs.
const (
	trialRounds = 200
	trialLimit  = time.Second
)

// lead serves as the leader of a quorum.
func (c *serveCmd) lead(ctx context.Context, stdout io.Writer, log *slog.Logger, ring *echo.Ring, about string) error {
	defer undisturbed(quorum.Pollers)()
	// A follower that is looked for allocates. After hours of that the collector comes after all.
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(1 << 30))
	starting, cancel := context.WithTimeout(ctx, c.ConnectTimeout)
	defer cancel()
	l, role, err := c.leader(starting, log, ring)
	if err != nil {
		return err
	}
	parts, err := quorum.Measure(ctx, quorum.MeasureConfig{Followers: c.Followers, Own: ring, BlockBytes: echo.BlockSize,
		Cadence: c.Cadence, Rounds: trialRounds, Limit: trialLimit})
	if err != nil {
		l.Close()
		return err
	}
	fmt.Fprintf(stdout, "floor ready addr=%s floor_version=%d reply_bytes=%d %s role=%s nodes=%d majority=%d followers=%s "+
		"peer_echo_us=%s sync_us=%s commit_us=%.0f trial_us=%.0f\n", l.Addr(), echo.Version, c.ReplyBytes, about, role, len(c.Followers)+1,
		quorum.Majority(len(c.Followers)), strings.Join(c.Followers, ","), list(parts.PeerEchoUs), list(parts.SyncUs), parts.CommitUs,
		parts.TrialUs)
	err = l.Serve(ctx)
	st := l.Stats()
	fmt.Fprintf(stdout, "floor done requests=%d syncs=%d bytes=%d refused=%d batches=%d lost=%d skipped=%d reconnects=%d\n",
		st.Requests, st.Syncs, st.Bytes, st.Refused, st.Batches, st.Lost, st.Skipped, st.Reconnects)
	return err
}

// server is what leads.
type server interface {
	Addr() string
	Serve(context.Context) error
	Stats() quorum.Stats
	Close()
}

func (c *serveCmd) leader(ctx context.Context, log *slog.Logger, ring *echo.Ring) (l server, role string, err error) {
	cfg := quorum.Config{ListenAddr: c.ListenAddr, Followers: c.Followers, ReplyBytes: c.ReplyBytes, BatchBytes: c.BatchBytes,
		WindowBytes: c.WindowBytes, Alone: true, Log: log}
	if c.Straight {
		l, err = quorum.ListenStraight(ctx, cfg, ring)
		return l, "straight", err
	}
	l, err = quorum.Listen(ctx, cfg, ring)
	return l, "leader", err
}

// Validate reports flags that say nothing together.
func (c *serveCmd) Validate() error {
	if c.Straight && len(c.Followers) == 0 {
		return errors.New("--straight needs --followers")
	}
	return nil
}

func list(us []float64) string {
	var s []string
	for _, v := range us {
		s = append(s, fmt.Sprintf("%.0f", v))
	}
	return strings.Join(s, ",")
}

// follow serves as a follower.
func (c *serveCmd) follow(ctx context.Context, stdout io.Writer, log *slog.Logger, ring *echo.Ring, about string) error {
	defer undisturbed(1)()
	f, err := quorum.ListenFollower(quorum.FollowerConfig{ListenAddr: c.ListenAddr, BatchBytes: c.BatchBytes, Alone: true, Log: log}, ring)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "floor ready addr=%s floor_version=%d %s role=follower\n", f.Addr(), echo.Version, about)
	err = f.Serve(ctx)
	st := f.Stats()
	fmt.Fprintf(stdout, "floor done frames=%d syncs=%d bytes=%d refused=%d messages=%d\n", st.Frames, st.Syncs, st.Bytes, st.Refused, st.Messages)
	return err
}
