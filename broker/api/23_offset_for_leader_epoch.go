package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"ackline/broker/id"
)

// offsetForLeaderEpoch tells where an epoch's records end, by which a consumer finds out whether what it has read is still in the
// log. It is more than that: franz-go takes the epochs of Metadata only from brokers that serve this, while it always takes those
// of hints (successor). Without it a client that was hinted at a leader once took every later Metadata, which then had no epoch,
// for older than the hint, and stayed with a leader that was dead.
func (h *Handler) offsetForLeaderEpoch(q *kmsg.OffsetForLeaderEpochRequest) kmsg.Response {
	cat := h.cfg.Cluster.Catalog()
	resp := q.ResponseKind().(*kmsg.OffsetForLeaderEpochResponse)
	for i := range q.Topics {
		t := cat.TopicNamed(q.Topics[i].Topic)
		rt := kmsg.NewOffsetForLeaderEpochResponseTopic()
		rt.Topic = q.Topics[i].Topic
		for j := range q.Topics[i].Partitions {
			want := &q.Topics[i].Partitions[j]
			out := kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
			out.Partition, out.LeaderEpoch, out.EndOffset = want.Partition, -1, -1
			p, missing := h.locate(t, want.Partition)
			if missing != 0 {
				out.ErrorCode = missing
			} else if out.ErrorCode = refuseEpoch(p.Bounds(), want.CurrentLeaderEpoch); out.ErrorCode == 0 && want.LeaderEpoch >= 0 {
				term, end, known, err := p.EndOfTerm(id.Term(want.LeaderEpoch))
				out.ErrorCode = readCode(err)
				if err == nil && known {
					out.LeaderEpoch, out.EndOffset = int32(term), int64(end)
				}
			}
			rt.Partitions = append(rt.Partitions, out)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp
}
