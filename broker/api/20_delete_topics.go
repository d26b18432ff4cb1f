package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ackline/broker/meta"
)

func (h *Handler) deleteTopics(ctx context.Context, q *kmsg.DeleteTopicsRequest) kmsg.Response {
	resp := q.ResponseKind().(*kmsg.DeleteTopicsResponse)
	behind := h.catchUp(ctx)
	cat := h.cfg.Cluster.Catalog()
	for _, name := range q.TopicNames {
		resp.Topics = append(resp.Topics, h.deleteOne(ctx, &name, [16]byte{}, cat.TopicNamed(name), behind))
	}
	for i := range q.Topics {
		if t := &q.Topics[i]; t.Topic != nil {
			resp.Topics = append(resp.Topics, h.deleteOne(ctx, t.Topic, [16]byte{}, cat.TopicNamed(*t.Topic), behind))
		} else {
			resp.Topics = append(resp.Topics, h.deleteOne(ctx, nil, t.TopicID, cat.TopicByID(t.TopicID), behind))
		}
	}
	return resp
}

// deleteOne deletes one creation of a topic: by id, whatever is created under its name meanwhile.
func (h *Handler) deleteOne(ctx context.Context, name *string, topicID [16]byte, t *meta.Topic, behind error) kmsg.DeleteTopicsResponseTopic {
	out := kmsg.NewDeleteTopicsResponseTopic()
	out.Topic, out.TopicID = name, topicID
	if t == nil && behind != nil {
		message := behind.Error()
		out.ErrorCode, out.ErrorMessage = code(behind), &message
		return out
	}
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
	case result.Refused != nil && name != nil && result.Refused.Code == meta.CodeUnknownTopicID: // somebody else was quicker
		out.ErrorCode = codeUnknownTopicOrPartition
	case result.Refused != nil:
		out.ErrorCode, out.ErrorMessage = int16(result.Refused.Code), &result.Refused.Message
	}
	return out
}
