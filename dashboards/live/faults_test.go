package live

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"ackline/loadgen/brokertest"
)

// sight is what must be seen of a fault: an alert, and the value of some series on a panel that shows what it watches.
type sight struct {
	alert string
	panel string
	moved func(v float64) bool // before the fault no series fits
}

// incident is a fault and what is seen of it.
type incident struct {
	name   string
	short  bool                             // it takes seconds
	fires  bool                             // in the long test, the alerts' For is waited for
	fresh  bool                             // Prometheus forgets what was before, so that an average over hours is one over this
	on     func(s *stack) map[string]string // labels of the series that are looked at; nil: all
	inject func(s *stack) (heal func())     // heal returns when the cluster is well again
	sights []sight
}

func is(x float64) func(float64) bool    { return func(v float64) bool { return v == x } }
func above(x float64) func(float64) bool { return func(v float64) bool { return v > x } }
func below(x float64) func(float64) bool { return func(v float64) bool { return v < x } }

// incidents are in an order in which none is in the way of the next. Every alert is in one.
var incidents = []incident{
	{name: "node_exporter ends", short: true, inject: func(s *stack) func() {
		s.machine.proc.kill()
		return s.machine.start
	}, sights: []sight{{"AcklineMachineUnknown", "Machines that answer", is(0)}}},

	{name: "nothing keeps the clock, and it goes wrong", short: true, inject: func(s *stack) func() {
		s.machine.synced.Store(0)
		s.machine.offset.Store(-80e6)
		return func() {
			s.machine.synced.Store(1)
			s.machine.offset.Store(0)
		}
	}, sights: []sight{{"AcklineClockUnsynchronised", "Clock kept", is(0)}, {"AcklineClockOff", "Clock offset", above(0.05)}}},

	{name: "clients ask for what is not there", short: true, inject: (*stack).astray,
		sights: []sight{{"AcklineProduceErrors", "Errors for each request", above(0.01)}}},

	// Not ackline's own, which is not known to: a broker for tests that is told to.
	{name: "a broker loses what it acknowledged", short: true, inject: func(s *stack) func() {
		s.fake.Break(brokertest.Faults{LoseBatch: int(s.fake.Stored(fakeTopic, 0)) + 20})
		return func() { s.fake.Break(brokertest.Faults{}) }
	}, sights: []sight{{"AcklineRecordsWrong", "Records with something wrong", above(0)}}},

	{name: "a client opens connections without end", short: true, inject: (*stack).connect,
		sights: []sight{{"AcklineOpenFiles", "Open files", above(0.8)}}},

	{name: "requests wait for a quorum", inject: (*stack).crowd,
		sights: []sight{{"AcklineClientsNotRead", "Unanswered requests, of the limit", above(0.9)}}},

	{name: "two nodes stall again and again", fresh: true, inject: func(s *stack) func() {
		return s.pulse(100*time.Millisecond, 50*time.Millisecond, s.nodes[1], s.nodes[2])
	}, sights: []sight{{"AcklineBudgetBurnsFast", "Objective missed", above(0.144)}, {"AcklineBudgetBurnsSlowly", "Objective missed", above(0.06)}}},

	{name: "a node's writes stall again and again", fresh: true, inject: func(s *stack) func() {
		end, heal := s.flood("stalled", 3), s.pulse(80*time.Millisecond, 20*time.Millisecond, s.nodes[1])
		return func() { heal(); end() }
	}, sights: []sight{{"AcklineSyncSlow", "Time of a sync", above(0.05)}}},

	{name: "a node is killed while much is written", inject: func(s *stack) func() {
		s.nodes[2].proc.kill()
		end := s.flood("behind", 1)
		return func() { end(); s.revive(s.nodes[2]) }
	}, sights: []sight{{"AcklineReplicaBehind", "Entries behind", above(10_000)}}},

	{name: "a disk is nearly full", fresh: true, on: smallDisk, inject: func(s *stack) func() {
		return fill(s.t, s.nodes[2].dir, smallDiskMiB<<20/20)
	}, sights: []sight{{"AcklineDiskAlmostFull", "Disk space left", below(0.1)}, {"AcklineDiskFills", "Disk space left", below(0.1)}}},

	{name: "a disk hangs", inject: (*stack).freeze,
		sights: []sight{{"AcklineDiskHangs", "Oldest write under way", above(5)}}},

	{name: "a disk is full", inject: func(s *stack) func() {
		free := fill(s.t, s.nodes[2].dir, 0)
		end := s.flood("full", 3)
		return func() { end(); free() }
	}, sights: []sight{{"AcklineCheckpointFails", "Failed checkpoints", above(0)}, {"AcklineRingFull", "Ring in use", above(0.8)}}},

	{name: "a node is killed", short: true, inject: func(s *stack) func() {
		s.nodes[2].proc.kill()
		return func() {} // the next one needs it dead
	}, sights: []sight{{"AcklineDown", "Nodes that answer", is(0)}}},

	{name: "of two nodes that are left one is stopped", short: true, fires: true, inject: func(s *stack) func() {
		s.nodes[1].proc.signal(syscall.SIGSTOP)
		return func() { s.nodes[1].proc.signal(syscall.SIGCONT); s.revive(s.nodes[2]) }
	}, sights: []sight{{"AcklineLeaderless", "Groups without a leader", above(0)}}},
}

// smallDisk are the labels of the third node's file system.
func smallDisk(s *stack) map[string]string { return map[string]string{"mountpoint": s.nodes[2].dir} }

func (s *stack) revive(n *node) {
	n.proc = start(s.t, n.args...)
	s.ready(s.nodes...)
}

func (s *stack) client(opts ...kgo.Opt) *kgo.Client {
	s.t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(s.nodes[0].kafka, s.nodes[1].kafka, s.nodes[2].kafka)}, opts...)...)
	if err != nil {
		s.t.Fatal(err)
	}
	return cl
}

// background runs do again and again until heal.
func background(do func(ctx context.Context)) (heal func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			do(ctx)
		}
	}()
	return func() { cancel(); <-done }
}

// astray writes to and reads from a topic that is not there.
func (s *stack) astray() (heal func()) {
	cl := s.client()
	end := background(func(ctx context.Context) {
		for _, b := range cl.SeedBrokers() {
			// The client sets a request's version, perhaps after it has answered: each broker gets its own.
			produce := kmsg.NewPtrProduceRequest()
			produce.Acks, produce.TimeoutMillis = 1, 1000
			produce.Topics = []kmsg.ProduceRequestTopic{{Topic: "none", Partitions: []kmsg.ProduceRequestTopicPartition{{Records: []byte{}}}}}
			fetch := kmsg.NewPtrFetchRequest()
			fetch.Topics = []kmsg.FetchRequestTopic{{Topic: "none", TopicID: [16]byte{1}, Partitions: []kmsg.FetchRequestTopicPartition{kmsg.NewFetchRequestTopicPartition()}}}
			for _, req := range []kmsg.Request{produce, fetch} {
				b.Request(ctx, req)
			}
		}
	})
	return func() { end(); cl.Close() }
}

// connect opens connections to the first node, until most of its descriptors are taken.
func (s *stack) connect() (heal func()) {
	var open []net.Conn
	for range descriptors * 85 / 100 {
		c, err := net.Dial("tcp", s.nodes[0].kafka)
		if err != nil {
			s.t.Fatal(err)
		}
		open = append(open, c)
	}
	return func() {
		for _, c := range open {
			c.Close()
		}
	}
}

// pulse stops nodes and lets them go on, in turns. What a stopped process waits for takes as long as it is stopped: to it and its peers that is a
// machine, or a disk, that stalls.
func (s *stack) pulse(stopped, running time.Duration, nodes ...*node) (heal func()) {
	goOn := func() {
		for _, n := range nodes {
			n.proc.signal(syscall.SIGCONT)
		}
	}
	end := background(func(ctx context.Context) {
		for _, n := range nodes {
			n.proc.signal(syscall.SIGSTOP)
		}
		rest(ctx, stopped)
		goOn()
		rest(ctx, running)
	})
	return func() { end(); goOn(); s.ready(s.nodes...) }
}

func rest(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// flood writes as fast as it goes, to a topic of its own.
func (s *stack) flood(topic string, partitions int) (heal func()) {
	bin := filepath.Dir(s.load.cmd.Path)
	p := start(s.t, filepath.Join(bin, "loadgen"), "run", "--brokers", strings.Join([]string{s.nodes[0].kafka, s.nodes[1].kafka, s.nodes[2].kafka}, ","), "--topic", topic, "--keep",
		"--partitions", fmt.Sprint(partitions), "--replication", "3", "--topic-config", "retention.bytes=33554432", "--arrivals", "closed", "--connections", fmt.Sprint(partitions), "--in-flight", "64",
		"--threads", "1", "--for", "1h", "--warm-up", "0s", "--judge", "0", "--no-check", "--no-realtime", "--timeout", "2m")
	return p.kill
}

// crowd has clients send much to a node whose two peers are stopped.
func (s *stack) crowd() (heal func()) {
	const topic = "crowd"
	cl := s.client(kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DisableIdempotentWrite(), kgo.MaxProduceRequestsInflightPerBroker(32), kgo.ProducerLinger(0),
		kgo.ProducerBatchMaxBytes(450_000), kgo.ProducerBatchCompression(kgo.NoCompression()))
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	adm := kadm.NewClient(cl)
	if _, err := adm.CreateTopic(ctx, 6, 3, nil, topic); err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		s.t.Fatal(err)
	}
	led := int32(-1)
	until(s.t, "the first node to lead a partition", func() bool {
		d, err := adm.ListTopics(ctx, topic)
		if err != nil {
			return false
		}
		for _, p := range d[topic].Partitions {
			if p.Leader == int32(s.nodes[0].id) {
				led = p.Partition
			}
		}
		return led >= 0
	})
	value := make([]byte, 400_000) // a batch may have twice wal.batch_bytes, which a small ring makes small
	rand.Read(value)
	end := background(func(ctx context.Context) {
		for range 8 {
			cl.Produce(ctx, &kgo.Record{Topic: topic, Partition: led, Value: value}, func(*kgo.Record, error) {})
		}
		rest(ctx, 50*time.Millisecond)
	})
	// Longer than a scrape, shorter than a leader is kept without its followers.
	goOn := s.pulse(900*time.Millisecond, 400*time.Millisecond, s.nodes[1], s.nodes[2])
	return func() {
		goOn()
		end()
		cl.Close()
	}
}
