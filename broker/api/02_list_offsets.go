package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"ackline/broker/id"
	"ackline/broker/kwire"
	"ackline/broker/meta"
	"ackline/broker/partition"
)

// Timestamps with a meaning of their own.
const (
	timeLatest   = -1
	timeEarliest = -2
	timeMax      = -3 // from version 7 on: the record with the greatest timestamp
)

func (h *Handler) listOffsets(q *kmsg.ListOffsetsRequest) kmsg.Response {
	cat := h.cfg.Cluster.Catalog()
	resp := q.ResponseKind().(*kmsg.ListOffsetsResponse)
	for i := range q.Topics {
		t := cat.TopicNamed(q.Topics[i].Topic)
		rt := kmsg.NewListOffsetsResponseTopic()
		rt.Topic = q.Topics[i].Topic
		for j := range q.Topics[i].Partitions {
			rt.Partitions = append(rt.Partitions, h.listOffset(t, &q.Topics[i].Partitions[j], q.Version))
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp
}

func (h *Handler) listOffset(t *meta.Topic, q *kmsg.ListOffsetsRequestTopicPartition, version int16) kmsg.ListOffsetsResponseTopicPartition {
	out := kmsg.NewListOffsetsResponseTopicPartition()
	out.Partition, out.Offset, out.Timestamp, out.LeaderEpoch = q.Partition, -1, -1, -1
	p, missing := h.locate(t, q.Partition)
	if missing != 0 {
		out.ErrorCode = missing
		return out
	}
	b := p.Bounds()
	out.ErrorCode = refuseEpoch(b, q.CurrentLeaderEpoch)
	switch {
	case out.ErrorCode != 0:
	case q.Timestamp < 0 && q.Timestamp != timeLatest && q.Timestamp != timeEarliest && (q.Timestamp != timeMax || version < 7):
		out.ErrorCode = codeInvalidRequest
	}
	if out.ErrorCode != 0 {
		return out
	}
	out.LeaderEpoch = int32(b.Term)
	switch q.Timestamp {
	case timeLatest:
		out.Offset = int64(b.High)
	case timeEarliest:
		out.Offset = int64(b.Start)
	default:
		h.offsetForTime(p, q.Timestamp, &out)
	}
	return out
}

// refuseEpoch says why offsets cannot be told to a client that believes in an epoch; below 0 it believes in none.
func refuseEpoch(b partition.Bounds, current int32) int16 {
	switch {
	case !b.Leading:
		return codeNotLeader
	case !b.Ready:
		return codeOffsetNotAvailable
	case current >= 0 && id.Term(current) < b.Term:
		return codeFencedLeaderEpoch
	case current >= 0 && id.Term(current) > b.Term:
		return codeUnknownLeaderEpoch
	}
	return 0
}

// readCode is code for an error of reading: what has no code of its own is the disk's.
func readCode(err error) int16 {
	if c := code(err); c != codeUnknownServerError {
		return c
	}
	return codeStorageError
}

// offsetForTime finds the first record at or after a time, or the first with the greatest. The partition knows batches; which
// record it is stands inside.
func (h *Handler) offsetForTime(p *partition.Partition, ms int64, out *kmsg.ListOffsetsResponseTopicPartition) {
	find := func() (id.Offset, int64, bool, error) { return p.OffsetForTime(ms) }
	if ms == timeMax {
		find = p.MaxTimestamp
	}
	base, greatest, found, err := find()
	switch {
	case err != nil:
		out.ErrorCode = readCode(err)
		return
	case !found:
		return
	}
	if ms == timeMax {
		ms = greatest
	}
	batch, _, err := p.Read(nil, base, 1, false, partition.Leader)
	if err == nil && len(batch) > 0 {
		if offset, stamp, ok := kwire.FirstRecordAt(batch, ms); ok {
			out.Offset, out.Timestamp = offset, stamp
			return
		}
	}
	out.Offset, out.Timestamp = int64(base), greatest
}
