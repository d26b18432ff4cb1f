package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"ackline/loadgen/place"
)

// Partition is one partition of a topic.
type Partition struct {
	ID     int32 // its place among the topics that were looked up together; of one topic the partition's own number
	Topic  string
	Number int32 // Kafka's own
	Leader int32 // node id
	Addr   string
}

// Topic is a topic's partitions, in order of their number; or, under names with commas between them, those of several topics.
type Topic struct {
	Name        string
	Partitions  []Partition
	Replication int // of several topics the lowest
}

// Topics are the names in Name.
func (t Topic) Topics() place.Topics { return place.Parse(t.Name) }

// Topic looks a topic up, or all of several at once (see place.Parse). A partition without a leader makes it ErrNoLeader.
func (c *Cluster) Topic(ctx context.Context, name string) (Topic, error) {
	m, err := c.metadata(ctx, name)
	if err != nil {
		return Topic{}, err
	}
	addr := map[int32]string{}
	var known []string
	for _, b := range m.Brokers {
		addr[b.NodeID] = net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port)))
		known = append(known, addr[b.NodeID])
	}
	c.mu.Lock()
	c.known = known
	c.mu.Unlock()
	out := Topic{Name: name}
	for i, one := range out.Topics() {
		if err := out.add(i, one, m.Topics, addr); err != nil {
			return Topic{}, err
		}
	}
	return out, nil
}

// add adds the partitions of one of t's topics.
func (t *Topic) add(index int, name string, found []kmsg.MetadataResponseTopic, addr map[int32]string) error {
	i := slices.IndexFunc(found, func(m kmsg.MetadataResponseTopic) bool { return m.Topic != nil && *m.Topic == name })
	if i < 0 || found[i].ErrorCode == kerr.UnknownTopicOrPartition.Code {
		return fmt.Errorf("topic %q: %w", name, ErrNoTopic)
	}
	if err := kerr.ErrorForCode(found[i].ErrorCode); err != nil {
		return fmt.Errorf("topic %q: %w", name, err)
	}
	begin := len(t.Partitions)
	for _, p := range found[i].Partitions {
		if p.Leader < 0 || addr[p.Leader] == "" {
			return fmt.Errorf("topic %q partition %d: %w", name, p.Partition, ErrNoLeader)
		}
		if t.Topics().Several() && p.Partition >= place.MaxPartitions {
			return fmt.Errorf("topic %q has partition %d: of several topics, each may have at most %d", name, p.Partition, place.MaxPartitions)
		}
		t.Partitions = append(t.Partitions, Partition{ID: place.Of(index, p.Partition), Topic: name, Number: p.Partition, Leader: p.Leader, Addr: addr[p.Leader]})
		if t.Replication == 0 || len(p.Replicas) < t.Replication {
			t.Replication = len(p.Replicas)
		}
	}
	if len(t.Partitions) == begin {
		return fmt.Errorf("topic %q: %w", name, ErrNoLeader)
	}
	slices.SortFunc(t.Partitions[begin:], func(a, b Partition) int { return cmp.Compare(a.ID, b.ID) })
	return nil
}

// Led is Topic, which waits while a partition has no leader: who is asked may not have heard yet of one that another node knows.
func (c *Cluster) Led(ctx context.Context, name string) (t Topic, err error) {
	_ = c.retry(ctx, func() error {
		if t, err = c.Topic(ctx, name); errors.Is(err, ErrNoLeader) {
			return err
		}
		return nil
	})
	return t, err
}

func (c *Cluster) metadata(ctx context.Context, topic string) (*kmsg.MetadataResponse, error) {
	resp, err := c.any(ctx, func() kmsg.Request {
		r := kmsg.NewPtrMetadataRequest()
		r.Version = metadataVersion
		for _, name := range place.Parse(topic) {
			t := kmsg.NewMetadataRequestTopic()
			t.Topic = &name
			r.Topics = append(r.Topics, t)
		}
		return r
	})
	if err != nil {
		return nil, err
	}
	return resp.(*kmsg.MetadataResponse), nil
}

// CreateTopic creates a topic and waits until every partition has a leader. replication -1 leaves it to the cluster.
func (c *Cluster) CreateTopic(ctx context.Context, name string, partitions int32, replication int16, config map[string]string) error {
	err := c.topicChange(ctx, name, func() kmsg.Request {
		r := kmsg.NewPtrCreateTopicsRequest()
		r.Version = 4
		r.TimeoutMillis = int32(c.timeout.Milliseconds())
		t := kmsg.NewCreateTopicsRequestTopic()
		t.Topic, t.NumPartitions, t.ReplicationFactor = name, partitions, replication
		for k, v := range config {
			kv := kmsg.NewCreateTopicsRequestTopicConfig()
			kv.Name, kv.Value = k, &v
			t.Configs = append(t.Configs, kv)
		}
		r.Topics = append(r.Topics, t)
		return r
	})
	if err != nil {
		return fmt.Errorf("create topic %q with %d partitions, replication %d: %w", name, partitions, replication, err)
	}
	return c.retry(ctx, func() error {
		t, err := c.Topic(ctx, name)
		if err == nil && len(t.Partitions) != int(partitions) {
			err = fmt.Errorf("topic %q has %d partitions, want %d: %w", name, len(t.Partitions), partitions, ErrNoLeader)
		}
		return err
	})
}

// DeleteTopic deletes a topic.
func (c *Cluster) DeleteTopic(ctx context.Context, name string) error {
	err := c.topicChange(ctx, name, func() kmsg.Request {
		r := kmsg.NewPtrDeleteTopicsRequest()
		r.Version = 3
		r.TimeoutMillis = int32(c.timeout.Milliseconds())
		r.TopicNames = []string{name}
		return r
	})
	if err != nil {
		return fmt.Errorf("delete topic %q: %w", name, err)
	}
	return nil
}

// topicChange sends a change to the controller and again, while there is none or it has moved.
func (c *Cluster) topicChange(ctx context.Context, topic string, make func() kmsg.Request) error {
	return c.retry(ctx, func() error {
		addr, err := c.controller(ctx, topic)
		if err != nil {
			return err
		}
		resp, err := c.call(ctx, addr, make())
		if err != nil {
			return err
		}
		var code int16
		var message *string
		switch r := resp.(type) {
		case *kmsg.CreateTopicsResponse:
			if len(r.Topics) == 1 {
				code, message = r.Topics[0].ErrorCode, r.Topics[0].ErrorMessage
			}
		case *kmsg.DeleteTopicsResponse:
			if len(r.Topics) == 1 {
				code, message = r.Topics[0].ErrorCode, r.Topics[0].ErrorMessage
			}
			if code == kerr.UnknownTopicOrPartition.Code {
				code = 0 // gone is gone
			}
		}
		err = kerr.ErrorForCode(code)
		if err != nil && message != nil && *message != "" {
			err = fmt.Errorf("%w (%s)", err, *message)
		}
		return err
	})
}

// EndOffsets returns, for every partition of t, the offset that the next record would get.
func (c *Cluster) EndOffsets(ctx context.Context, t Topic) (map[int32]int64, error) {
	out := map[int32]int64{}
	for _, p := range t.Partitions {
		err := c.retry(ctx, func() error {
			o, err := c.endOffset(ctx, p)
			out[p.ID] = o
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("end of topic %q partition %d: %w", p.Topic, p.Number, err)
		}
	}
	return out, nil
}

func (c *Cluster) endOffset(ctx context.Context, p Partition) (int64, error) {
	r := kmsg.NewPtrListOffsetsRequest()
	r.Version = 5
	r.ReplicaID = -1
	rt := kmsg.NewListOffsetsRequestTopic()
	rt.Topic = p.Topic
	rp := kmsg.NewListOffsetsRequestTopicPartition()
	rp.Partition, rp.Timestamp, rp.CurrentLeaderEpoch = p.Number, -1, -1
	rt.Partitions = append(rt.Partitions, rp)
	r.Topics = append(r.Topics, rt)
	resp, err := c.call(ctx, p.Addr, r)
	if err != nil {
		return 0, err
	}
	l := resp.(*kmsg.ListOffsetsResponse)
	if len(l.Topics) != 1 || len(l.Topics[0].Partitions) != 1 {
		return 0, fmt.Errorf("%d topics in a ListOffsets response, want 1 of 1 partition", len(l.Topics))
	}
	got := l.Topics[0].Partitions[0]
	return got.Offset, kerr.ErrorForCode(got.ErrorCode)
}
