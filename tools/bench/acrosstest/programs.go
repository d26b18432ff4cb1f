// Package acrosstest is what tests of launches on an emulated network (package across) share: real brokers and floors in processes of their own,
// for which a test binary stands in, and networks that are small and near.
package acrosstest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"ackline/broker/node"
	"ackline/broker/node/config"
	"ackline/broker/syncmethod"
	"ackline/broker/vfs"
	"ackline/tools/bench/target"
	"ackline/tools/floor/echo"
	"ackline/tools/floor/quorum"
)

// Ring is as small as rings may be.
const Ring = 8 << 20

// Election names the environment variable that says how many milliseconds of silence the brokers bear until they elect a leader, if not the usual ones.
const Election = "ELECTION_MS"

// Main is TestMain: it lets the test binary be the broker and the floor.
func Main(m *testing.M) {
	act := map[string]func(context.Context, map[string]string) error{"broker": actAsBroker, "floor": actAsFloor}[os.Getenv("ACT_AS")]
	if act == nil {
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	flags := map[string]string{}
	for i := 2; i < len(os.Args); i++ {
		if os.Args[i] == "--follow" {
			flags["--follow"] = "yes"
			continue
		}
		flags[os.Args[i]] = os.Args[i+1]
		i++
	}
	if err := act(ctx, flags); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func actAsBroker(ctx context.Context, flags map[string]string) error {
	cfg, err := config.Load(flags["--config"])
	if err != nil {
		return err
	}
	id, err := strconv.Atoi(flags["--node-id"])
	if err != nil {
		return err
	}
	cfg.Node.ID, cfg.Node.DataDir, cfg.Node.ListenAddr, cfg.Node.HTTPAddr = int32(id), flags["--data-dir"], flags["--listen-addr"], flags["--http-addr"]
	cfg.WAL.SyncMethod, cfg.WAL.RingBytes = string(syncmethod.BufferedDsync), Ring
	cfg.Cluster.Name, cfg.Cluster.RaftAddr = "test", flags["--raft-addr"]
	if ms := os.Getenv(Election); ms != "" {
		if cfg.Cluster.ElectionMs, err = strconv.Atoi(ms); err != nil {
			return err
		}
	}
	for p := range strings.SplitSeq(flags["--peers"], ",") {
		number, at, _ := strings.Cut(p, "@")
		id, err := strconv.Atoi(number)
		if err != nil {
			return err
		}
		cfg.Cluster.Peers = append(cfg.Cluster.Peers, config.Peer{ID: int32(id), RaftAddr: at})
	}
	n, err := node.Open(cfg, node.Options{Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if err != nil {
		return err
	}
	fmt.Printf("broker listens: kafka %s http %s sync %s\n", n.ListenAddr(), n.HTTPAddr(), n.SyncMethod())
	<-ctx.Done()
	gone, cancel := context.WithCancel(context.Background())
	cancel() // nobody is left who would take over
	if err := n.Close(gone); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

func actAsFloor(ctx context.Context, flags map[string]string) error {
	disk, err := echo.CreateRing(vfs.OS(), filepath.Join(flags["--dir"], "ring"), Ring, syncmethod.BufferedDsync)
	if err != nil {
		return err
	}
	defer disk.Remove()
	var s interface {
		Addr() string
		Serve(context.Context) error
	}
	about := fmt.Sprintf("floor_version=%d method=%s", echo.Version, syncmethod.BufferedDsync)
	if flags["--follow"] != "" {
		s, err = quorum.ListenFollower(quorum.FollowerConfig{ListenAddr: flags["--listen-addr"], BatchBytes: echo.DefaultBatchBytes}, disk)
	} else {
		var size int
		if size, err = strconv.Atoi(flags["--reply-bytes"]); err != nil {
			return err
		}
		followers := strings.Split(flags["--followers"], ",")
		about += fmt.Sprintf(" reply_bytes=%d nodes=%d", size, len(followers)+1)
		s, err = quorum.Listen(ctx, quorum.Config{ListenAddr: flags["--listen-addr"], Followers: followers, ReplyBytes: size,
			BatchBytes: echo.DefaultBatchBytes, WindowBytes: quorum.DefaultWindowBytes}, disk)
	}
	if err != nil {
		return err
	}
	fmt.Printf("floor ready addr=%s %s\n", s.Addr(), about)
	return s.Serve(ctx)
}

// Programs are scripts that start this test binary as one of the two.
func Programs(t *testing.T) target.Programs {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, name := range []string{"broker", "floor"} {
		if err := os.WriteFile(filepath.Join(dir, name), fmt.Appendf(nil, "#!/bin/sh\nACT_AS=%s exec %s \"$@\"\n", name, self), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return target.Programs{Broker: filepath.Join(dir, "broker"), Floor: filepath.Join(dir, "floor")}
}
