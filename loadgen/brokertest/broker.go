// Package brokertest is a fake cluster for tests: it keeps records in memory and, on demand, breaks every promise that a
// broker makes, so that the generator can be seen to notice.
//
// It shares no code with the broker that is measured, and none with the generator's own encoders: requests are read and
// answers written with kmsg.
package brokertest

import (
	"encoding/binary"
	"hash/crc32"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Faults is what the cluster does wrong. The zero value does everything right. Counts are per partition: 3 means the
// third batch and no other.
type Faults struct {
	Topic        string          // only this one's records suffer; "": all
	Until        <-chan struct{} // Produce is not handled before this is closed
	Mute         bool            // Produce is stored and not answered
	MuteFrom     int             // the same from this Produce request of the cluster on
	Code         int16           // Produce is refused with this error code
	LoseBatch    int             // acknowledged, not stored
	RepeatBatch  int             // stored twice
	SwapBatch    int             // stored after the batch that follows it
	MovedBatch   int             // acknowledged with the offset of the one before
	CorruptBatch int             // a byte of its value is changed, and the CRC made right again
	BadCRCBatch  int             // a byte is changed, and the CRC left as it was
	Blind        bool            // Fetch finds nothing
	ShortReply   bool            // Produce answers end too early
	MinProduce   int16           // lowest Produce version advertised; 0 means 3
	Tell         func() []byte   // what a Produce that asks for its stages is told, in the field of the same number; nil: nothing
}

// stagesTag is the number of the field with which ackline's broker is asked for a request's stages, and tells them.
const stagesTag = 0x61636b6c

// Cluster is a fake cluster of some nodes that share one memory.
type Cluster struct {
	t     testing.TB
	nodes []*node

	mu     sync.Mutex // guards everything below and the nodes' fields
	grown  *sync.Cond // a batch was stored or the cluster stopped
	topics map[string][]*partition
	faults Faults
	counts map[int16]int // requests by key
}

type node struct {
	id       int32
	listener net.Listener
	addr     string // held by a reservation for as long as the cluster lives, dead or not
	conns    map[net.Conn]bool
	dead     bool
}

type partition struct {
	leader  int32
	batches [][]byte
	next    int64
	seen    int
	held    []byte             // the batch to be swapped with the next
	known   map[sequence]int64 // the offsets of producers' batches
	due     map[int64]int32    // by producer, the sequence number that comes next
}

// sequence names a producer's batch.
type sequence struct {
	producer int64
	first    int32
}

// Start starts a cluster on loopback; the test's end stops it.
func Start(t testing.TB, nodes int) *Cluster {
	t.Helper()
	c := &Cluster{t: t, topics: map[string][]*partition{}, counts: map[int16]int{}}
	c.grown = sync.NewCond(&c.mu)
	for i := range nodes {
		n := &node{id: int32(i + 1), addr: Refused(t), conns: map[net.Conn]bool{}}
		c.nodes = append(c.nodes, n)
		c.listen(n)
	}
	t.Cleanup(func() {
		for i := range c.nodes {
			c.Kill(int32(i + 1))
		}
	})
	return c
}

func (c *Cluster) listen(n *node) {
	l, err := listen(n.addr)
	if err != nil {
		c.t.Fatal(err)
	}
	c.mu.Lock()
	n.listener, n.dead = l, false
	c.mu.Unlock()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			c.mu.Lock()
			dead := n.dead
			n.conns[conn] = true
			c.mu.Unlock()
			if dead {
				conn.Close()
				return
			}
			go c.serve(n, conn)
		}
	}()
}

// Addr is the address of the first node.
func (c *Cluster) Addr() string { return c.nodes[0].addr }

// Addrs are the addresses of all nodes.
func (c *Cluster) Addrs() (out []string) {
	for _, n := range c.nodes {
		out = append(out, n.addr)
	}
	return out
}

// Kill closes a node's listener and connections.
func (c *Cluster) Kill(id int32) {
	n := c.nodes[id-1]
	c.mu.Lock()
	defer c.mu.Unlock()
	n.dead = true
	n.listener.Close()
	for conn := range n.conns {
		conn.Close()
	}
	c.grown.Broadcast()
}

// Restart brings a killed node back at its old address, with its memory.
func (c *Cluster) Restart(id int32) { c.listen(c.nodes[id-1]) }

// Break changes what the cluster does wrong.
func (c *Cluster) Break(f Faults) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults = f
}

// Create makes a topic with its partitions led by the nodes in turn.
func (c *Cluster) Create(topic string, partitions int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.create(topic, partitions)
}

func (c *Cluster) create(topic string, partitions int) {
	var ps []*partition
	for i := range partitions {
		ps = append(ps, &partition{leader: c.nodes[i%len(c.nodes)].id})
	}
	c.topics[topic] = ps
}

// Move makes another node a partition's leader.
func (c *Cluster) Move(topic string, p int, leader int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.topics[topic][p].leader = leader
}

// Truncate takes everything from offset n on away from a partition.
func (c *Cluster) Truncate(topic string, p int, n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	x := c.topics[topic][p]
	for i, b := range x.batches {
		if int64(binary.BigEndian.Uint64(b)) >= n {
			x.batches = x.batches[:i]
			break
		}
	}
	x.next = min(x.next, n)
}

// Stored is how many records a partition holds.
func (c *Cluster) Stored(topic string, p int) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.topics[topic][p].next
}

// Batches are the batches that a partition holds, which are not to be changed.
func (c *Cluster) Batches(topic string, p int) [][]byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.topics[topic][p].batches)
}

// AwaitStored waits until a partition holds n records.
func (c *Cluster) AwaitStored(topic string, p int, n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for p >= len(c.topics[topic]) || c.topics[topic][p].next < n {
		c.grown.Wait()
	}
}

// Has reports whether the topic exists.
func (c *Cluster) Has(topic string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.topics[topic] != nil
}

// Requests is how many requests with this key arrived.
func (c *Cluster) Requests(key int16) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.counts[key]
}

func (c *Cluster) serve(n *node, conn net.Conn) {
	defer conn.Close()
	for {
		var size [4]byte
		if _, err := io.ReadFull(conn, size[:]); err != nil {
			return
		}
		body := make([]byte, binary.BigEndian.Uint32(size[:]))
		if _, err := io.ReadFull(conn, body); err != nil {
			return
		}
		reply := c.handle(n, body)
		if reply == nil {
			continue
		}
		binary.BigEndian.PutUint32(size[:], uint32(len(reply)))
		if _, err := conn.Write(append(size[:], reply...)); err != nil {
			return
		}
	}
}

// handle answers one request, without its length prefix. nil: no answer.
func (c *Cluster) handle(n *node, body []byte) []byte {
	key, version := int16(binary.BigEndian.Uint16(body)), int16(binary.BigEndian.Uint16(body[2:]))
	reply := append([]byte(nil), body[4:8]...)
	req := kmsg.RequestForKey(key)
	req.SetVersion(version)
	rest := body[8:]
	if id := int16(binary.BigEndian.Uint16(rest)); id > 0 {
		rest = rest[id:]
	}
	rest = rest[2:]
	if req.IsFlexible() {
		rest = rest[1:]
		if key != int16(kmsg.ApiVersions) {
			reply = append(reply, 0)
		}
	}
	if err := req.ReadFrom(rest); err != nil {
		c.t.Errorf("brokertest: %s v%d: %v", kmsg.NameForKey(key), version, err)
		return nil
	}
	c.mu.Lock()
	c.counts[key]++
	f := c.faults
	mute := f.Mute || f.MuteFrom > 0 && c.counts[int16(kmsg.Produce)] >= f.MuteFrom
	c.mu.Unlock()
	var resp kmsg.Response
	switch r := req.(type) {
	case *kmsg.ProduceRequest:
		if f.Until != nil {
			<-f.Until
		}
		resp = c.produce(n, r, f)
		if mute || r.Acks == 0 {
			return nil
		}
	case *kmsg.FetchRequest:
		resp = c.fetch(n, r)
	default:
		resp = c.administer(req, f)
	}
	if resp == nil {
		c.t.Errorf("brokertest: %s is not served", kmsg.NameForKey(key))
		return nil
	}
	resp.SetVersion(version)
	reply = resp.AppendTo(reply)
	if key == 0 && f.ShortReply {
		reply = reply[:len(reply)-3]
	}
	return reply
}

func (c *Cluster) produce(n *node, r *kmsg.ProduceRequest, f Faults) *kmsg.ProduceResponse {
	resp := kmsg.NewPtrProduceResponse()
	c.mu.Lock()
	defer c.mu.Unlock()
	all := f
	for _, t := range r.Topics {
		if f = all; f.Topic != "" && f.Topic != t.Topic {
			f = Faults{}
		}
		rt := kmsg.NewProduceResponseTopic()
		rt.Topic = t.Topic
		for _, p := range t.Partitions {
			rp := kmsg.NewProduceResponseTopicPartition()
			rp.Partition = p.Partition
			ps := c.topics[t.Topic]
			switch {
			case int(p.Partition) >= len(ps):
				rp.ErrorCode = 3
			case ps[p.Partition].leader != n.id:
				rp.ErrorCode = 6
			case f.Code != 0:
				rp.ErrorCode = f.Code
			default:
				rp.BaseOffset, rp.ErrorCode = ps[p.Partition].accept(append([]byte(nil), p.Records...), f)
			}
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	r.UnknownTags.Each(func(number uint32, _ []byte) {
		if number == stagesTag && all.Tell != nil {
			resp.UnknownTags.Set(number, all.Tell())
		}
	})
	c.grown.Broadcast()
	return resp
}

// accept stores a batch unless its producer has it here already, or left something out before it.
func (p *partition) accept(b []byte, f Faults) (base int64, code int16) {
	s := sequence{int64(binary.BigEndian.Uint64(b[43:])), int32(binary.BigEndian.Uint32(b[53:]))}
	if s.producer < 0 {
		return p.store(b, f), 0
	}
	if base, again := p.known[s]; again {
		return base, 0
	}
	if s.first != p.due[s.producer] {
		return -1, 45 // OUT_OF_ORDER_SEQUENCE_NUMBER
	}
	if p.known == nil {
		p.known, p.due = map[sequence]int64{}, map[int64]int32{}
	}
	base = p.store(b, f)
	p.known[s], p.due[s.producer] = base, s.first+int32(binary.BigEndian.Uint32(b[57:]))
	return base, 0
}

// store appends a batch, in the way that the faults ask for, and returns the offset to acknowledge.
func (p *partition) store(b []byte, f Faults) int64 {
	p.seen++
	put := func(b []byte) int64 {
		base := p.next
		binary.BigEndian.PutUint64(b, uint64(base))
		binary.BigEndian.PutUint32(b[12:], 7) // the leader's epoch, which the CRC leaves out
		p.batches = append(p.batches, b)
		p.next += int64(binary.BigEndian.Uint32(b[23:])) + 1
		return base
	}
	count := int64(binary.BigEndian.Uint32(b[57:]))
	switch p.seen {
	case f.LoseBatch:
		return p.next
	case f.RepeatBatch:
		base := put(append([]byte(nil), b...))
		put(b)
		return base
	case f.SwapBatch:
		p.held = b
		return p.next + count // where it will be, if the next one is as large
	case f.MovedBatch:
		return put(b) - 1
	case f.CorruptBatch:
		b[len(b)-3] ^= 0xff
		binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], crc32.MakeTable(crc32.Castagnoli)))
	case f.BadCRCBatch:
		b[len(b)-3] ^= 0xff
	}
	base := put(b)
	if p.held != nil {
		put(p.held)
		p.held = nil
	}
	return base
}

func (c *Cluster) fetch(n *node, r *kmsg.FetchRequest) *kmsg.FetchResponse {
	resp := kmsg.NewPtrFetchResponse()
	deadline := time.Now().Add(time.Duration(r.MaxWaitMillis) * time.Millisecond)
	wake := time.AfterFunc(time.Until(deadline), c.grown.Broadcast)
	defer wake.Stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		resp.Topics = nil
		found := false
		for _, t := range r.Topics {
			rt := kmsg.NewFetchResponseTopic()
			rt.Topic = t.Topic
			for _, p := range t.Partitions {
				rp := c.read(n, t.Topic, p.Partition, p.FetchOffset, int(p.PartitionMaxBytes))
				found = found || len(rp.RecordBatches) > 0 || rp.ErrorCode != 0
				rt.Partitions = append(rt.Partitions, rp)
			}
			resp.Topics = append(resp.Topics, rt)
		}
		if found || n.dead || !time.Now().Before(deadline) {
			return resp
		}
		c.grown.Wait()
	}
}

// read is called with mu held.
func (c *Cluster) read(n *node, topic string, id int32, from int64, maxBytes int) kmsg.FetchResponseTopicPartition {
	rp := kmsg.NewFetchResponseTopicPartition()
	rp.Partition = id
	ps := c.topics[topic]
	if int(id) >= len(ps) {
		rp.ErrorCode = 3
		return rp
	}
	p := ps[id]
	if p.leader != n.id {
		rp.ErrorCode = 6
		return rp
	}
	rp.HighWatermark, rp.LastStableOffset = p.next, p.next
	if c.faults.Blind {
		return rp
	}
	for _, b := range p.batches {
		last := int64(binary.BigEndian.Uint64(b)) + int64(binary.BigEndian.Uint32(b[23:]))
		if last < from {
			continue
		}
		if len(rp.RecordBatches) > 0 && len(rp.RecordBatches)+len(b) > maxBytes {
			break
		}
		rp.RecordBatches = append(rp.RecordBatches, b...)
	}
	return rp
}
