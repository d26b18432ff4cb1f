package api

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ackline/broker/id"
	"ackline/broker/kwire"
	"ackline/broker/meta"
	"ackline/broker/partition"
	"ackline/broker/partition/waiter"
	"ackline/broker/server"
	"ackline/broker/stage"
)

// fetch answers at once when there is enough to read or something to complain about; otherwise it waits on a goroutine of
// its own for the commit that changes that.
func (h *Handler) fetch(r *server.Request, q *kmsg.FetchRequest) {
	h.Counters.FetchRequests.Add(1)
	if code := refuseFetch(q); code != 0 {
		resp := q.ResponseKind().(*kmsg.FetchResponse)
		resp.ErrorCode = code
		h.reply(r, resp)
		return
	}
	resp, bytes, settled := h.read(q)
	deadline := min(time.Duration(q.MaxWaitMillis)*time.Millisecond, 5*time.Minute)
	if settled || bytes >= max(int(q.MinBytes), 1) || deadline <= 0 {
		h.sendFetch(r, resp, bytes)
		return
	}
	h.async(func() { h.poll(r, q, resp, bytes, deadline) })
}

// refuseFetch checks what concerns the whole request. Sessions are declined by always answering session 0, so any other
// is unknown; and a replica is fed by raft, never by Fetch.
func refuseFetch(q *kmsg.FetchRequest) int16 {
	switch {
	case q.ReplicaID >= 0 || q.ReplicaState.ID >= 0:
		return codeInvalidRequest
	case q.SessionID != 0:
		return codeFetchSessionIDNotFound
	}
	return 0
}

func (h *Handler) sendFetch(r *server.Request, resp *kmsg.FetchResponse, bytes int) {
	h.Counters.FetchBytes.Add(uint64(bytes))
	for i := range resp.Topics {
		for j := range resp.Topics[i].Partitions {
			if c := resp.Topics[i].Partitions[j].ErrorCode; c != 0 {
				h.Counters.FetchErrors.Add(c)
			}
		}
	}
	h.Counters.FetchDuration.Observe(h.cfg.Now() - r.Clock[stage.Read])
	h.reply(r, resp)
}

// poll waits until the request is satisfied, its time is up, or the node stops.
func (h *Handler) poll(r *server.Request, q *kmsg.FetchRequest, resp *kmsg.FetchResponse, bytes int, wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	settled := false
	for !settled && bytes < max(int(q.MinBytes), 1) {
		w := waiter.New()
		if h.await(w, q, resp) {
			select {
			case <-w.C:
			case <-timer.C:
				w.Cancel()
				resp, bytes, _ = h.read(q)
				h.sendFetch(r, resp, bytes)
				return
			case <-h.ctx.Done():
				w.Cancel()
				h.sendFetch(r, resp, bytes)
				return
			}
		}
		resp, bytes, settled = h.read(q)
	}
	h.sendFetch(r, resp, bytes)
}

// await registers w with every partition asked for, to be woken by a record beyond what resp holds. It returns false when
// there is one already.
func (h *Handler) await(w *waiter.Waiter, q *kmsg.FetchRequest, resp *kmsg.FetchResponse) bool {
	cat := h.cfg.Cluster.Catalog()
	for i := range q.Topics {
		t := h.fetchTopic(cat, &q.Topics[i], q.Version)
		for j := range q.Topics[i].Partitions {
			want := &q.Topics[i].Partitions[j]
			p, missing := h.locate(t, want.Partition)
			if missing != 0 {
				return false
			}
			next := id.Offset(want.FetchOffset)
			if got := resp.Topics[i].Partitions[j].RecordBatches; len(got) > 0 {
				next = endOf(got)
			}
			if !p.Await(w, next, whoServes(q)) {
				w.Cancel()
				return false
			}
		}
	}
	return true
}

// endOf returns the offset after the last of some whole batches.
func endOf(batches []byte) id.Offset {
	next := id.Offset(0)
	for len(batches) >= kwire.BatchHeaderBytes {
		b := kwire.PeekBatch(batches)
		next = id.Offset(b.Base) + id.Offset(b.LastDelta) + 1
		batches = batches[min(b.Length, len(batches)):]
	}
	return next
}

func (h *Handler) fetchTopic(cat *meta.Catalog, t *kmsg.FetchRequestTopic, version int16) *meta.Topic {
	if version >= 13 {
		return cat.TopicByID(t.TopicID)
	}
	return cat.TopicNamed(t.Topic)
}

// read collects what is there now. The first batch of the first partition that has one comes whole even above the limits,
// or a consumer with small limits would never get on. settled means that an error is to be told without waiting.
func (h *Handler) read(q *kmsg.FetchRequest) (resp *kmsg.FetchResponse, bytes int, settled bool) {
	resp = q.ResponseKind().(*kmsg.FetchResponse)
	cat := h.cfg.Cluster.Catalog()
	limit := h.cfg.MaxFetchBytes
	if q.MaxBytes > 0 {
		limit = min(limit, int(q.MaxBytes))
	}
	resp.Topics = make([]kmsg.FetchResponseTopic, len(q.Topics))
	for i := range q.Topics {
		qt, rt := &q.Topics[i], &resp.Topics[i]
		rt.Topic, rt.TopicID = qt.Topic, qt.TopicID
		t := h.fetchTopic(cat, qt, q.Version)
		rt.Partitions = make([]kmsg.FetchResponseTopicPartition, len(qt.Partitions))
		for j := range qt.Partitions {
			rp := &rt.Partitions[j]
			h.readPartition(t, &qt.Partitions[j], rp, q, limit-bytes, bytes > 0)
			bytes += len(rp.RecordBatches)
			if rp.ErrorCode == codeNotLeader {
				h.fetchHint(resp, rp, t)
			}
			settled = settled || rp.ErrorCode != 0 && rp.ErrorCode != codeOffsetNotAvailable || rp.PreferredReadReplica >= 0
		}
	}
	return resp, bytes, settled
}

// whoServes: a consumer that says in which rack it is was sent here by the leader, or knows what it does (KIP-392).
func whoServes(q *kmsg.FetchRequest) partition.Who { return q.Version >= 11 && q.Rack != "" }

func (h *Handler) readPartition(t *meta.Topic, q *kmsg.FetchRequestTopicPartition, out *kmsg.FetchResponseTopicPartition,
	r *kmsg.FetchRequest, room int, strict bool) {
	*out = kmsg.NewFetchResponseTopicPartition()
	out.Partition = q.Partition
	out.HighWatermark, out.LastStableOffset, out.LogStartOffset = -1, -1, -1
	out.RecordBatches = []byte{} // never null: librdkafka takes that for a malformed response
	p, missing := h.locate(t, q.Partition)
	if missing != 0 {
		out.ErrorCode = missing
		if t == nil && r.Version >= 13 {
			out.ErrorCode = h.unknown(codeUnknownTopicID)
		}
		return
	}
	limit := min(room, int(q.PartitionMaxBytes))
	data, b, err := p.Read(out.RecordBatches, id.Offset(q.FetchOffset), limit, strict, whoServes(r))
	if q.CurrentLeaderEpoch >= 0 && code(err) != codeNotLeader {
		switch {
		case id.Term(q.CurrentLeaderEpoch) < b.Term:
			out.ErrorCode = codeFencedLeaderEpoch
		case id.Term(q.CurrentLeaderEpoch) > b.Term:
			out.ErrorCode = codeUnknownLeaderEpoch
		}
		if out.ErrorCode != 0 {
			return
		}
	}
	out.ErrorCode = code(err)
	if out.ErrorCode == codeUnknownServerError {
		out.ErrorCode = codeStorageError
		h.cfg.Log.Error("a partition could not be read", "topic", t.Name, "partition", q.Partition, "offset", q.FetchOffset, "err", err)
	}
	if out.ErrorCode == codeNotLeader {
		return
	}
	out.HighWatermark, out.LastStableOffset, out.LogStartOffset = int64(b.High), int64(b.High), int64(b.Start)
	if whoServes(r) == partition.Follower && b.Leading && out.ErrorCode == 0 {
		if n, ok := h.cfg.Hosts.Nearest(t.Partitions[q.Partition].Group, r.Rack); ok {
			out.PreferredReadReplica = int32(n)
			return
		}
	}
	out.RecordBatches = data
}

// fetchHint names who leads instead.
func (h *Handler) fetchHint(resp *kmsg.FetchResponse, rp *kmsg.FetchResponseTopicPartition, t *meta.Topic) {
	l, at, ok := h.successor(t, rp.Partition, false)
	if !ok {
		return
	}
	rp.CurrentLeader.LeaderID, rp.CurrentLeader.LeaderEpoch = int32(l.Node), int32(l.Term)
	for i := range resp.Brokers {
		if resp.Brokers[i].NodeID == at.Node {
			return
		}
	}
	b := kmsg.NewFetchResponseBroker()
	b.NodeID, b.Host, b.Port = at.Node, at.Host, at.Port
	if at.Rack != "" {
		b.Rack = &at.Rack
	}
	resp.Brokers = append(resp.Brokers, b)
}
