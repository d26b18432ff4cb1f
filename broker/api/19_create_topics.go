package api

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ackline/broker/api/configs"
	"ackline/broker/id"
	"ackline/broker/meta"
)

func (h *Handler) createTopics(ctx context.Context, q *kmsg.CreateTopicsRequest) kmsg.Response {
	resp := q.ResponseKind().(*kmsg.CreateTopicsResponse)
	named := map[string]int{}
	for i := range q.Topics {
		named[q.Topics[i].Topic]++
	}
	for i := range q.Topics {
		t := &q.Topics[i]
		switch n := named[t.Topic]; {
		case n == 1:
			resp.Topics = append(resp.Topics, h.createOne(ctx, t, q.ValidateOnly))
		case n > 1: // named more than once: refused, and answered once
			named[t.Topic] = 0
			resp.Topics = append(resp.Topics, refusedTopic(t.Topic, codeInvalidRequest, "the request names this topic more than once"))
		}
	}
	return resp
}

func refusedTopic(name string, code int16, message string) kmsg.CreateTopicsResponseTopic {
	out := kmsg.NewCreateTopicsResponseTopic()
	out.Topic, out.ErrorCode, out.ErrorMessage = name, code, &message
	out.NumPartitions, out.ReplicationFactor, out.ConfigErrorCode = -1, -1, 0
	return out
}

func (h *Handler) createOne(ctx context.Context, t *kmsg.CreateTopicsRequestTopic, validateOnly bool) kmsg.CreateTopicsResponseTopic {
	r, err := topicRequest(t)
	if err != nil {
		return refusedTopic(t.Topic, int16(meta.CodeInvalidReplicaAssignment), err.Error())
	}
	made, code, message := h.createTopic(ctx, r, validateOnly)
	if code != 0 {
		return refusedTopic(t.Topic, code, message)
	}
	out := kmsg.NewCreateTopicsResponseTopic()
	out.Topic = t.Topic
	if made == nil { // validated only
		out.NumPartitions, out.ReplicationFactor = t.NumPartitions, t.ReplicationFactor
		return out
	}
	out.TopicID = made.ID
	out.NumPartitions, out.ReplicationFactor = int32(len(made.Partitions)), int16(made.ReplicationFactor())
	for _, c := range configs.Describe(made, nil, false, false) {
		rc := kmsg.NewCreateTopicsResponseTopicConfig()
		rc.Name, rc.Value, rc.Source = c.Name, c.Value, int8(c.Source)
		out.Configs = append(out.Configs, rc)
	}
	return out
}

func topicRequest(t *kmsg.CreateTopicsRequestTopic) (meta.TopicRequest, error) {
	r := meta.TopicRequest{Name: t.Topic, Partitions: int(t.NumPartitions), ReplicationFactor: int(t.ReplicationFactor)}
	for _, c := range t.Configs {
		if c.Value != nil { // null: the default
			r.Configs = append(r.Configs, meta.Config{Key: c.Name, Value: *c.Value})
		}
	}
	if len(t.ReplicaAssignment) == 0 {
		return r, nil
	}
	rows := slices.Clone(t.ReplicaAssignment)
	slices.SortFunc(rows, func(a, b kmsg.CreateTopicsRequestTopicReplicaAssignment) int {
		return cmp.Compare(a.Partition, b.Partition)
	})
	for i, row := range rows {
		if row.Partition != int32(i) {
			return r, fmt.Errorf("the assignment names partition %d where %d is next; partitions count from 0 without a gap", row.Partition, i)
		}
		nodes := make([]id.NodeID, len(row.Replicas))
		for j, n := range row.Replicas {
			nodes[j] = id.NodeID(n)
		}
		r.Assignment = append(r.Assignment, nodes)
	}
	return r, nil
}
