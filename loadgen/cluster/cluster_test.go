package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"ackline/loadgen/brokertest"
)

// patience is what only a hanging test exceeds, however little of the machine it gets.
const patience = 2 * time.Minute

func ask(t *testing.T, brokers ...string) *Cluster {
	t.Helper()
	c, err := New(brokers, patience)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestTopicComesAndGoes(t *testing.T) {
	ctx := context.Background()
	b := brokertest.Start(t, 2)
	c := ask(t, b.Addr())
	if _, err := c.Topic(ctx, "t"); !errors.Is(err, ErrNoTopic) {
		t.Errorf("before it is created: %v", err)
	}
	if err := c.CreateTopic(ctx, "t", 3, -1, map[string]string{"retention.ms": "1"}); err != nil {
		t.Fatal(err)
	}
	if err := c.CreateTopic(ctx, "t", 3, -1, nil); err == nil || !strings.Contains(err.Error(), "TOPIC_ALREADY_EXISTS") {
		t.Errorf("created twice: %v", err)
	}
	top, err := c.Topic(ctx, "t")
	if err != nil || len(top.Partitions) != 3 || top.Partitions[0].Leader == top.Partitions[1].Leader || top.Partitions[0].Addr == top.Partitions[1].Addr {
		t.Fatalf("%+v, %v", top, err)
	}
	if ends, err := c.EndOffsets(ctx, top); err != nil || len(ends) != 3 || ends[2] != 0 {
		t.Errorf("%v, %v", ends, err)
	}
	for range 2 { // gone is gone
		if err := c.DeleteTopic(ctx, "t"); err != nil {
			t.Error(err)
		}
	}
}

// What was learnt from one broker is tried when that one is gone.
func TestSurvivesItsSeed(t *testing.T) {
	ctx := context.Background()
	b := brokertest.Start(t, 2)
	b.Create("t", 2)
	c := ask(t, b.Addr())
	if _, err := c.Topic(ctx, "t"); err != nil {
		t.Fatal(err)
	}
	b.Kill(1)
	if _, err := c.Topic(ctx, "t"); !errors.Is(err, ErrNoLeader) {
		t.Errorf("with partition 0 led by the dead node: %v", err)
	}
	b.Move("t", 0, 2)
	if top, err := c.Topic(ctx, "t"); err != nil || top.Partitions[0].Leader != 2 {
		t.Errorf("%+v, %v", top, err)
	}
}

// TestNodes: what is there, whoever is asked, and without those that are gone.
func TestNodes(t *testing.T) {
	b := brokertest.Start(t, 3)
	for _, at := range b.Addrs() {
		got, err := ask(t, at).Nodes(context.Background())
		if want := slices.Sorted(slices.Values(b.Addrs())); err != nil || !slices.Equal(got, want) {
			t.Errorf("%v, %v, want %v", got, err, want)
		}
	}
	b.Kill(3)
	if got, err := ask(t, b.Addr()).Nodes(context.Background()); err != nil || len(got) != 2 {
		t.Errorf("with one of three gone: %v, %v", got, err)
	}
}

// TestLedWaitsForALeader, and not for a topic that is not there.
func TestLedWaitsForALeader(t *testing.T) {
	ctx := context.Background()
	b := brokertest.Start(t, 2)
	b.Create("t", 2)
	c := ask(t, b.Addr())
	if _, err := c.Led(ctx, "none"); !errors.Is(err, ErrNoTopic) {
		t.Errorf("a topic that is not there: %v", err)
	}
	if _, err := c.Topic(ctx, "t"); err != nil { // learns both brokers
		t.Fatal(err)
	}
	b.Kill(1)
	led := make(chan error, 1)
	go func() {
		top, err := c.Led(ctx, "t")
		if err == nil && top.Partitions[0].Leader != 2 {
			err = fmt.Errorf("%+v", top)
		}
		led <- err
	}()
	select {
	case err := <-led:
		t.Fatalf("with partition 0 led by the dead node: %v", err)
	case <-time.After(100 * time.Millisecond): // some tries
	}
	b.Move("t", 0, 2)
	if err := <-led; err != nil {
		t.Error(err)
	}
}

// A broker that accepts and says nothing does not keep the others from being asked.
func TestSilentSeedIsNotWaitedFor(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	b := brokertest.Start(t, 1)
	b.Create("t", 1)
	c, _ := New([]string{l.Addr().String(), b.Addr()}, time.Hour)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := c.Topic(ctx, "t"); err != nil {
		t.Error(err)
	}
}

// What listens may be anything. Each gets an error that says so, before any time is up but for the one that says nothing.
func TestNotABroker(t *testing.T) {
	for name, c := range map[string]struct {
		serve   func(net.Conn)
		timeout time.Duration
		says    string
	}{
		"closes":      {func(c net.Conn) { c.Close() }, time.Hour, ""},
		"speaks HTTP": {func(c net.Conn) { c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")) }, time.Hour, "Kafka-protocol listener"},
		"speaks TLS":  {func(c net.Conn) { c.Write([]byte{21, 3, 3, 0, 2, 2, 70, 0}) }, time.Hour, "Kafka-protocol listener"},
		"says little": {func(c net.Conn) { c.Write([]byte{0, 0, 0, 5, 0, 0, 0, 1, 0}) }, time.Hour, "ApiVersions"},
		"is silent":   {func(net.Conn) {}, 300 * time.Millisecond, "timeout"},
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				c.serve(conn)
			}
		}()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		cl, _ := New([]string{l.Addr().String()}, c.timeout)
		err = cl.Check(ctx)
		if err == nil || !strings.Contains(err.Error(), c.says) || ctx.Err() != nil {
			t.Errorf("%s: %v", name, err)
		}
		cancel()
		l.Close()
	}
}

func TestAddresses(t *testing.T) {
	for addr, ok := range map[string]bool{"a:1": true, "[::1]:9092": true, "a": false, ":9092": false, "a:0": false, "a:x": false, "a:70000": false, "": false} {
		if err := CheckAddress(addr); (err == nil) != ok {
			t.Errorf("%q: %v", addr, err)
		}
	}
	if _, err := New(nil, time.Second); err == nil {
		t.Error("no brokers at all were accepted")
	}
}

func TestCancelled(t *testing.T) {
	b := brokertest.Start(t, 1)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := ask(t, b.Addr()).Topic(ctx, "t"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
