package api

import (
	"context"
	"crypto/rand"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ackline/broker/meta"
	"ackline/broker/server"
)

// metadata tells where partitions are. Of what it does not know it makes sure first, elsewhere, and there creates it if it may.
func (h *Handler) metadata(r *server.Request, q *kmsg.MetadataRequest) {
	if h.knows(q) {
		h.reply(r, h.describeTopics(q, nil))
		return
	}
	h.wait(r, 0, func(ctx context.Context) kmsg.Response {
		behind := h.catchUp(ctx)
		for _, name := range h.missing(q) {
			// Whether it worked shows in the answer.
			h.createTopic(ctx, meta.TopicRequest{Name: name, Partitions: -1, ReplicationFactor: -1}, false)
		}
		return h.describeTopics(q, behind)
	})
}

// knows tells whether the catalog has every topic that is asked for, as far as there can be such a topic.
func (h *Handler) knows(q *kmsg.MetadataRequest) bool {
	cat := h.cfg.Cluster.Catalog()
	for i := range q.Topics {
		switch t := &q.Topics[i]; {
		case t.Topic != nil && cat.TopicNamed(*t.Topic) == nil && meta.CheckTopicName(*t.Topic) == nil,
			t.Topic == nil && cat.TopicByID(t.TopicID) == nil:
			return false
		}
	}
	return true
}

// missing lists topics that are asked for by name, do not exist, and may be made.
func (h *Handler) missing(q *kmsg.MetadataRequest) (names []string) {
	if !h.cfg.AutoCreate || q.Version >= 4 && !q.AllowAutoTopicCreation {
		return nil
	}
	cat := h.cfg.Cluster.Catalog()
	for i := range q.Topics {
		if n := q.Topics[i].Topic; n != nil && cat.TopicNamed(*n) == nil && meta.CheckTopicName(*n) == nil {
			names = append(names, *n)
		}
	}
	return names
}

// describeTopics answers from the catalog. behind is why it may lack what others know, nil if it does not.
func (h *Handler) describeTopics(q *kmsg.MetadataRequest, behind error) kmsg.Response {
	cat := h.cfg.Cluster.Catalog()
	resp := q.ResponseKind().(*kmsg.MetadataResponse)
	for _, n := range cat.Nodes() {
		if n.Incarnation == 0 {
			continue // it is expected
		}
		b := kmsg.NewMetadataResponseBroker()
		b.NodeID = int32(n.ID)
		b.Host, b.Port = n.KafkaHostPort()
		if n.Zone != "" {
			b.Rack = &n.Zone
		}
		resp.Brokers = append(resp.Brokers, b)
	}
	cluster := cat.ClusterID()
	resp.ClusterID = &cluster
	resp.ControllerID = h.controller(cat)
	if q.Topics == nil || q.Version == 0 && len(q.Topics) == 0 {
		for _, t := range cat.Topics() {
			resp.Topics = append(resp.Topics, h.describeTopic(t))
		}
		return resp
	}
	for i := range q.Topics {
		resp.Topics = append(resp.Topics, h.findTopic(cat, &q.Topics[i], behind))
	}
	return resp
}

func (h *Handler) findTopic(cat *meta.Catalog, q *kmsg.MetadataRequestTopic, behind error) kmsg.MetadataResponseTopic {
	if q.Topic != nil {
		if t := cat.TopicNamed(*q.Topic); t != nil {
			return h.describeTopic(t)
		}
		none := kmsg.NewMetadataResponseTopic()
		none.Topic, none.ErrorCode = q.Topic, h.absent(codeUnknownTopicOrPartition, behind)
		if meta.CheckTopicName(*q.Topic) != nil {
			none.ErrorCode = int16(meta.CodeInvalidTopic)
		}
		return none
	}
	if t := cat.TopicByID(q.TopicID); t != nil {
		return h.describeTopic(t)
	}
	none := kmsg.NewMetadataResponseTopic()
	none.TopicID, none.ErrorCode = q.TopicID, h.absent(codeUnknownTopicID, behind)
	return none
}

func (h *Handler) describeTopic(t *meta.Topic) kmsg.MetadataResponseTopic {
	out := kmsg.NewMetadataResponseTopic()
	out.Topic, out.TopicID = &t.Name, t.ID
	for n := range t.Partitions {
		part := kmsg.NewMetadataResponseTopicPartition()
		part.Partition = int32(n)
		part.Leader, part.LeaderEpoch = h.leader(t, int32(n))
		if part.Leader < 0 {
			part.ErrorCode = codeLeaderNotAvailable
		}
		for _, r := range t.Partitions[n].Replicas {
			part.Replicas = append(part.Replicas, int32(r.Node))
			part.ISR = append(part.ISR, int32(r.Node))
		}
		out.Partitions = append(out.Partitions, part)
	}
	return out
}

// createTopic plans a topic and proposes it, then waits until this node's share of it is open, so that a client that
// hears of success can produce at once.
func (h *Handler) createTopic(ctx context.Context, r meta.TopicRequest, validateOnly bool) (*meta.Topic, int16, string) {
	topicID, err := meta.NewTopicID(rand.Reader)
	if err != nil {
		return nil, codeUnknownServerError, err.Error()
	}
	behind := h.catchUp(ctx)
	command, refused := h.cfg.Cluster.Catalog().PlanCreateTopic(r, h.cfg.Limits, topicID)
	if refused != nil && behind != nil {
		return nil, code(behind), behind.Error()
	}
	if refused != nil {
		return nil, int16(refused.Code), refused.Message
	}
	if validateOnly {
		return nil, 0, ""
	}
	result, err := h.cfg.Cluster.Propose(ctx, command)
	switch {
	case err != nil:
		return nil, code(err), err.Error()
	case result.Refused != nil:
		return nil, int16(result.Refused.Code), result.Refused.Message
	}
	if err := h.cfg.Hosts.AwaitOpen(ctx, result.Topic); err != nil {
		return nil, code(err), err.Error()
	}
	return result.Topic, 0, ""
}
