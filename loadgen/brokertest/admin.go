package brokertest

import (
	"encoding/binary"

	"net"
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// administer answers everything that moves no records.
func (c *Cluster) administer(req kmsg.Request, f Faults) kmsg.Response {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch r := req.(type) {
	case *kmsg.ApiVersionsRequest:
		return versions(f)
	case *kmsg.MetadataRequest:
		return c.metadata(r)
	case *kmsg.InitProducerIDRequest:
		resp := kmsg.NewPtrInitProducerIDResponse()
		resp.ProducerID = int64(c.counts[22])
		return resp
	case *kmsg.ListOffsetsRequest:
		return c.listOffsets(r)
	case *kmsg.CreateTopicsRequest:
		resp := kmsg.NewPtrCreateTopicsResponse()
		for _, t := range r.Topics {
			rt := kmsg.NewCreateTopicsResponseTopic()
			rt.Topic = t.Topic
			if c.topics[t.Topic] != nil {
				rt.ErrorCode = 36
			} else {
				c.create(t.Topic, int(max(t.NumPartitions, 1)))
			}
			resp.Topics = append(resp.Topics, rt)
		}
		return resp
	case *kmsg.DeleteTopicsRequest:
		resp := kmsg.NewPtrDeleteTopicsResponse()
		for _, name := range r.TopicNames {
			rt := kmsg.NewDeleteTopicsResponseTopic()
			rt.Topic = &name
			if c.topics[name] == nil {
				rt.ErrorCode = 3
			}
			delete(c.topics, name)
			resp.Topics = append(resp.Topics, rt)
		}
		return resp
	}
	return nil
}

func versions(f Faults) kmsg.Response {
	resp := kmsg.NewPtrApiVersionsResponse()
	low := f.MinProduce
	if low == 0 {
		low = 3
	}
	for _, k := range [][3]int16{{0, low, 11}, {1, 4, 11}, {2, 1, 7}, {3, 0, 9}, {18, 0, 3}, {19, 0, 7}, {20, 0, 5}, {22, 0, 4}} {
		v := kmsg.NewApiVersionsResponseApiKey()
		v.ApiKey, v.MinVersion, v.MaxVersion = k[0], k[1], k[2]
		resp.ApiKeys = append(resp.ApiKeys, v)
	}
	return resp
}

func (c *Cluster) metadata(r *kmsg.MetadataRequest) kmsg.Response {
	resp := kmsg.NewPtrMetadataResponse()
	id := "fake at " + c.Addr()
	resp.ClusterID = &id
	for _, n := range c.nodes {
		if n.dead {
			continue
		}
		host, port, _ := net.SplitHostPort(n.addr)
		b := kmsg.NewMetadataResponseBroker()
		p, _ := strconv.Atoi(port)
		b.NodeID, b.Host, b.Port = n.id, host, int32(p)
		resp.Brokers = append(resp.Brokers, b)
		resp.ControllerID = n.id
	}
	for _, t := range r.Topics {
		rt := kmsg.NewMetadataResponseTopic()
		rt.Topic = t.Topic
		ps := c.topics[*t.Topic]
		if ps == nil {
			rt.ErrorCode = 3
		}
		for i, p := range ps {
			rp := kmsg.NewMetadataResponseTopicPartition()
			rp.Partition, rp.Leader, rp.LeaderEpoch, rp.Replicas, rp.ISR = int32(i), p.leader, 7, []int32{p.leader}, []int32{p.leader}
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp
}

func (c *Cluster) listOffsets(r *kmsg.ListOffsetsRequest) kmsg.Response {
	resp := kmsg.NewPtrListOffsetsResponse()
	for _, t := range r.Topics {
		rt := kmsg.NewListOffsetsResponseTopic()
		rt.Topic = t.Topic
		for _, p := range t.Partitions {
			rp := kmsg.NewListOffsetsResponseTopicPartition()
			rp.Partition, rp.Timestamp = p.Partition, -1
			if ps := c.topics[t.Topic]; int(p.Partition) < len(ps) {
				rp.Offset = ps[p.Partition].next
			} else {
				rp.ErrorCode = 3
			}
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp
}

// ProduceReply is the answer to a Produce v9 of one partition of topic "t", without its length prefix.
func ProduceReply(correlation int32, code int16) []byte {
	resp := kmsg.NewPtrProduceResponse()
	resp.Version = 9
	rt, rp := kmsg.NewProduceResponseTopic(), kmsg.NewProduceResponseTopicPartition()
	rt.Topic, rp.ErrorCode = "t", code
	rt.Partitions = append(rt.Partitions, rp)
	resp.Topics = append(resp.Topics, rt)
	return resp.AppendTo(append(binary.BigEndian.AppendUint32(nil, uint32(correlation)), 0))
}
