package node_test

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ackline/broker/node"
	"ackline/broker/node/config"
	"ackline/broker/vfs"
)

// wire is a connection that does what it is told: it sends whenever the test does, whatever throttle time it heard.
type wire struct {
	net.Conn
	t *testing.T
}

func dial(t *testing.T, n *node.Node) *wire {
	t.Helper()
	conn, err := net.Dial("tcp", n.ListenAddr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return &wire{conn, t}
}

func (w *wire) send(frame []byte) {
	w.t.Helper()
	if _, err := w.Write(frame); err != nil {
		w.t.Fatal(err)
	}
}

// body reads a reply, without its length and correlation id.
func (w *wire) body() []byte {
	w.t.Helper()
	var head [8]byte
	if _, err := io.ReadFull(w, head[:]); err != nil {
		w.t.Fatal(err)
	}
	body := make([]byte, binary.BigEndian.Uint32(head[:])-4)
	if _, err := io.ReadFull(w, body); err != nil {
		w.t.Fatal(err)
	}
	return body
}

// produced reads the reply to a produceFrame: the error code of its one partition and the throttle time.
func (w *wire) produced() (code int16, throttleMs int32) {
	w.t.Helper()
	var resp kmsg.ProduceResponse
	resp.Version = 9
	if err := resp.ReadFrom(w.body()[1:]); err != nil { // behind the header's tags
		w.t.Fatal(err)
	}
	return resp.Topics[0].Partitions[0].ErrorCode, resp.ThrottleMillis
}

func fetchFrame(topic string, maxBytes int32) []byte {
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.ReplicaID, req.MaxBytes, req.MinBytes = 11, -1, maxBytes, 1
	part := kmsg.NewFetchRequestTopicPartition()
	part.PartitionMaxBytes, part.CurrentLeaderEpoch = maxBytes, -1
	ft := kmsg.NewFetchRequestTopic()
	ft.Topic, ft.Partitions = topic, []kmsg.FetchRequestTopicPartition{part}
	req.Topics = append(req.Topics, ft)
	return kmsg.NewRequestFormatter().AppendRequest(nil, req, 1)
}

// fetched reads the reply to a fetchFrame: how many bytes of records, and the throttle time.
func (w *wire) fetched() (bytes int, throttleMs int32) {
	w.t.Helper()
	var resp kmsg.FetchResponse
	resp.Version = 11
	if err := resp.ReadFrom(w.body()); err != nil {
		w.t.Fatal(err)
	}
	return len(resp.Topics[0].Partitions[0].RecordBatches), resp.ThrottleMillis
}

// probe asks what the throttle time is, by a request that writes nothing: the topic does not exist.
func probe(t *testing.T, n *node.Node) int32 {
	t.Helper()
	w := dial(t, n)
	defer w.Close()
	w.send(produceFrame("no such topic", 1))
	_, ms := w.produced()
	return ms
}

// until waits for a condition that the node brings about.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for: %s", what)
		}
	}
}

// TestFullRingSlowsProducers stalls the writing of segments until the ring is full. Producers are then told to wait the longest
// time that is configured, and made to if they do not listen; a consumer is not; and when the disk goes on, everything that was
// sent is acknowledged, by connections that are muted, and nobody is told to wait any more.
func TestFullRingSlowsProducers(t *testing.T) {
	const maxMs = 30_000 // so long that all of this happens within it
	var mu sync.RWMutex  // held for writing while segments stall
	fs := vfs.Inject(vfs.NewMem(), func(op vfs.Op) error {
		if op.Kind == vfs.OpWrite && strings.Contains(op.Name, "/groups/") {
			mu.RLock()
			defer mu.RUnlock()
		}
		return nil
	})
	n := open(t, fs, func(c *config.Config) { c.Limits.ThrottleMaxMs = maxMs })
	defer closeNode(t, n)
	createTopic(t, n, "t", 1)
	if ms := probe(t, n); ms != 0 {
		t.Fatalf("producers are told to wait %d ms while there is room", ms)
	}
	mu.Lock()
	stalled := true
	defer func() {
		if stalled { // the test failed, and closing the node needs the disk
			mu.Unlock()
		}
	}()

	// More than the ring holds, each on a connection of its own that has heard of nothing. The last of them have to wait.
	frame := produceFrame("t", 32<<10)
	var producers []*wire
	for range 2 << 20 / (32 << 10) {
		w := dial(t, n)
		w.send(frame)
		producers = append(producers, w)
	}
	until(t, "the longest throttle", func() bool { return probe(t, n) == maxMs })

	// A client that does not wait is not read. Others are, as often as they ask.
	deaf := dial(t, n)
	deaf.send(produceFrame("no such topic", 1))
	if _, ms := deaf.produced(); ms != maxMs {
		t.Errorf("throttle of %d ms, want %d", ms, maxMs)
	}
	deaf.send(produceFrame("no such topic", 1))
	consumer := dial(t, n)
	for range 3 {
		consumer.send(fetchFrame("t", 1<<20))
		if bytes, ms := consumer.fetched(); bytes == 0 || ms != 0 {
			t.Errorf("a consumer got %d bytes and a throttle of %d ms", bytes, ms)
		}
	}
	if err := deaf.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if got, err := deaf.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%d bytes, %v for a client that was to wait %d ms", got, err, maxMs)
	}

	stalled = false
	mu.Unlock()
	for i, w := range producers {
		if code, _ := w.produced(); code != 0 {
			t.Errorf("producer %d: error %d", i, code)
		}
	}
	until(t, "the end of the throttle", func() bool { return probe(t, n) == 0 })
}

// TestBatchThatTheRingCannotTake: topics take batches of 1 MiB if nobody says otherwise, and a small ring does not. A batch that would
// not fit behind a full one of the WAL is refused; it would end the node.
func TestBatchThatTheRingCannotTake(t *testing.T) {
	n := open(t, vfs.NewMem(), func(c *config.Config) { c.WAL.RingBytes, c.WAL.BatchBytes = 4<<20, 64<<10 })
	defer closeNode(t, n)
	createTopic(t, n, "t", 1)
	w := dial(t, n)
	for _, c := range []struct {
		bytes int
		code  int16
	}{{120 << 10, 0}, {130 << 10, 10}, {900 << 10, 10}, {120 << 10, 0}} { // 10: MESSAGE_TOO_LARGE
		w.send(produceFrame("t", c.bytes))
		if code, _ := w.produced(); code != c.code {
			t.Fatalf("a record of %d bytes: error code %d, want %d", c.bytes, code, c.code)
		}
	}
}
