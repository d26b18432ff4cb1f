package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ackline/broker/meta"
)

func (h *Handler) deleteTopics(ctx context.Context, q *kmsg.DeleteTopicsRequest) kmsg.Response {
	resp := q.ResponseKind().(*kmsg.DeleteTopicsResponse)
	cat := h.cfg.Cluster.Catalog()
	for _, name := range q.TopicNames {
		resp.Topics = append(resp.Topics, h.deleteOne(ctx, &name, [16]byte{}, cat.TopicNamed(name)))
	}
	for i := range q.Topics {
		if t := &q.Topics[i]; t.Topic != nil {
			resp.Topics = append(resp.Topics, h.deleteOne(ctx, t.Topic, [16]byte{}, cat.TopicNamed(*t.Topic)))
		} else {
			resp.Topics = append(resp.Topics, h.deleteOne(ctx, nil, t.TopicID, cat.TopicByID(t.TopicID)))
		}
	}
	return resp
}

// deleteOne deletes one creation of a topic: by id, whatever is created under its name meanwhile.
func (h *Handler) deleteOne(ctx context.Context, name *string, topicID [16]byte, t *meta.Topic) kmsg.DeleteTopicsResponseTopic {
	out := kmsg.NewDeleteTopicsResponseTopic()
	out.Topic, out.TopicID = name, topicID
	if t == nil {
		out.ErrorCode = h.unknown(codeUnknownTopicOrPartition)
		if name == nil {
			out.ErrorCode = h.unknown(codeUnknownTopicID)
		}
		return out
	}
	out.Topic, out.TopicID = &t.Name, t.ID
	result, err := h.cfg.Cluster.Propose(ctx, meta.DeleteTopic{ID: t.ID})
	switch {
	case err != nil:
		message := err.Error()
		out.ErrorCode, out.ErrorMessage = code(err), &message
	case result.Refused != nil:
		out.ErrorCode, out.ErrorMessage = int16(result.Refused.Code), &result.Refused.Message
	}
	return out
}
