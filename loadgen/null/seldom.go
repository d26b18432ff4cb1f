package null

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// served are the requests that are answered, with their lowest and highest version: what loadgen asks when it opens a session.
var served = [][3]int16{
	{int16(kmsg.Produce), produceVersion, produceVersion}, {int16(kmsg.Fetch), 4, 11}, {int16(kmsg.ListOffsets), 1, 5},
	{int16(kmsg.Metadata), 1, 8}, {int16(kmsg.ApiVersions), 0, 2},
}

// seldom answers what is asked once and not for each record.
func (s *Server) seldom(key, version int16, body []byte) error {
	known := false
	for _, k := range served {
		known = known || k[0] == key && version >= k[1] && version <= k[2]
	}
	if !known {
		return fmt.Errorf("request %d version %d is not served", key, version)
	}
	req := kmsg.RequestForKey(key)
	req.SetVersion(version)
	r := scan{p: body, at: 8}
	r.skip(r.int16()) // client id; none of these versions has tags behind it
	if r.bad {
		return fmt.Errorf("request %d of %d bytes ends within its head", key, len(body))
	}
	if err := req.ReadFrom(body[r.at:]); err != nil {
		return err
	}
	resp := s.respond(req)
	resp.SetVersion(version)
	s.out = resp.AppendTo(append(s.out, body[4:8]...))
	return nil
}

func (s *Server) respond(req kmsg.Request) kmsg.Response {
	switch r := req.(type) {
	case *kmsg.ApiVersionsRequest:
		resp := kmsg.NewPtrApiVersionsResponse()
		for _, k := range served {
			v := kmsg.NewApiVersionsResponseApiKey()
			v.ApiKey, v.MinVersion, v.MaxVersion = k[0], k[1], k[2]
			resp.ApiKeys = append(resp.ApiKeys, v)
		}
		return resp
	case *kmsg.MetadataRequest:
		return s.metadata(r)
	case *kmsg.ListOffsetsRequest:
		resp := kmsg.NewPtrListOffsetsResponse()
		for _, t := range r.Topics {
			rt := kmsg.NewListOffsetsResponseTopic()
			rt.Topic = t.Topic
			for _, p := range t.Partitions {
				rp := kmsg.NewListOffsetsResponseTopicPartition()
				rp.Partition, rp.Timestamp, rp.Offset = p.Partition, -1, 0
				if ends := s.ends[t.Topic]; ends != nil && p.Partition >= 0 && p.Partition < partitions {
					rp.Offset = ends[p.Partition]
				}
				rt.Partitions = append(rt.Partitions, rp)
			}
			resp.Topics = append(resp.Topics, rt)
		}
		return resp
	case *kmsg.FetchRequest:
		// Nothing is kept, so that every offset lies before the log.
		resp := kmsg.NewPtrFetchResponse()
		for _, t := range r.Topics {
			rt := kmsg.NewFetchResponseTopic()
			rt.Topic = t.Topic
			for _, p := range t.Partitions {
				rp := kmsg.NewFetchResponseTopicPartition()
				rp.Partition, rp.ErrorCode = p.Partition, outOfRange
				rt.Partitions = append(rt.Partitions, rp)
			}
			resp.Topics = append(resp.Topics, rt)
		}
		return resp
	}
	panic(fmt.Sprintf("null: %T is advertised and not answered", req))
}

// metadata knows every topic that is asked for.
func (s *Server) metadata(r *kmsg.MetadataRequest) kmsg.Response {
	resp := kmsg.NewPtrMetadataResponse()
	b := kmsg.NewMetadataResponseBroker()
	b.NodeID, b.Host, b.Port = 1, s.host, s.port
	resp.Brokers, resp.ControllerID = append(resp.Brokers, b), 1
	for _, t := range r.Topics {
		rt := kmsg.NewMetadataResponseTopic()
		rt.Topic = t.Topic
		for i := range int32(partitions) {
			rp := kmsg.NewMetadataResponseTopicPartition()
			rp.Partition, rp.Leader, rp.LeaderEpoch, rp.Replicas, rp.ISR = i, 1, 0, []int32{1}, []int32{1}
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp
}
