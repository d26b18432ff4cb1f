package api

import (
	"context"
	"crypto/rand"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ackline/broker/id"
	"ackline/broker/meta"
	"ackline/broker/server"
)

// metadata tells where partitions are. Of what it does not know it makes sure first, elsewhere, and there creates it if it may. While
// the leader of a partition that is asked for is being elected the answer is held: libraries look for a leader as soon as theirs is
// gone, and one that is told of none asks again much later, franz-go after five seconds.
func (h *Handler) metadata(r *server.Request, q *kmsg.MetadataRequest) {
	known := h.knows(q)
	if known {
		if resp, electing := h.describeTopics(q, nil); electing == 0 {
			h.reply(r, resp)
			return
		}
	}
	h.wait(r, 0, func(ctx context.Context) kmsg.Response {
		var behind error
		if !known {
			behind = h.catchUp(ctx)
			for _, name := range h.missing(q) {
				// Whether it worked shows in the answer.
				h.createTopic(ctx, meta.TopicRequest{Name: name, Partitions: -1, ReplicationFactor: -1}, false)
			}
		}
		resp, electing := h.describeTopics(q, behind)
		if electing != 0 {
			h.Counters.MetadataHeld.Add(1)
			h.hold(ctx, func() bool {
				if l, ok := h.cfg.Hosts.Leader(electing); ok && h.cfg.Hosts.Alive(l.Node) {
					resp, electing = h.describeTopics(q, behind)
				}
				return electing == 0
			})
		}
		return resp
	})
}

// knows tells whether the catalog has every topic that is asked for, as far as there can be such a topic.
func (h *Handler) knows(q *kmsg.MetadataRequest) bool {
	cat := h.cfg.Cluster.Catalog()
	for i := range q.Topics {
		t := &q.Topics[i]
		if findTopic(cat, t) == nil && (t.Topic == nil || meta.CheckTopicName(*t.Topic) == nil) {
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

// describeTopics answers from the catalog. behind is why it may lack what others know, nil if it does not. electing is a partition of
// the topics that are asked for by name or id which has no leader, or a leader that may be dead, and will have one; 0 if there is none.
func (h *Handler) describeTopics(q *kmsg.MetadataRequest, behind error) (resp *kmsg.MetadataResponse, electing id.GroupID) {
	cat := h.cfg.Cluster.Catalog()
	resp = q.ResponseKind().(*kmsg.MetadataResponse)
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
		return resp, 0
	}
	for i := range q.Topics {
		t := findTopic(cat, &q.Topics[i])
		if t == nil {
			resp.Topics = append(resp.Topics, h.noTopic(&q.Topics[i], behind))
			continue
		}
		out := h.describeTopic(t)
		for n := range out.Partitions {
			l := id.NodeID(out.Partitions[n].Leader)
			if (l < 0 || !h.cfg.Hosts.Alive(l)) && h.quorate(t.Partitions[n].Replicas) {
				electing = t.Partitions[n].Group
			}
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp, electing
}

// quorate tells whether most replicas are on nodes that live, so that one of them can be elected.
func (h *Handler) quorate(replicas []meta.Replica) bool {
	alive := 0
	for _, r := range replicas {
		if h.cfg.Hosts.Alive(r.Node) {
			alive++
		}
	}
	return alive > len(replicas)/2
}

func findTopic(cat *meta.Catalog, q *kmsg.MetadataRequestTopic) *meta.Topic {
	if q.Topic != nil {
		return cat.TopicNamed(*q.Topic)
	}
	return cat.TopicByID(q.TopicID)
}

// noTopic is what is said of a topic that the catalog does not have.
func (h *Handler) noTopic(q *kmsg.MetadataRequestTopic, behind error) kmsg.MetadataResponseTopic {
	none := kmsg.NewMetadataResponseTopic()
	if q.Topic == nil {
		none.TopicID, none.ErrorCode = q.TopicID, h.absent(codeUnknownTopicID, behind)
		return none
	}
	none.Topic, none.ErrorCode = q.Topic, h.absent(codeUnknownTopicOrPartition, behind)
	if meta.CheckTopicName(*q.Topic) != nil {
		none.ErrorCode = int16(meta.CodeInvalidTopic)
	}
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
