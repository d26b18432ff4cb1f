package api

import (
	"math"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// unknownOperations is what Kafka answers when it is not asked which operations the client is authorized for.
const unknownOperations = math.MinInt32

func (h *Handler) describeCluster(q *kmsg.DescribeClusterRequest) kmsg.Response {
	cat := h.cfg.Cluster.Catalog()
	resp := q.ResponseKind().(*kmsg.DescribeClusterResponse)
	resp.EndpointType = q.EndpointType
	resp.ClusterID, resp.ControllerID = cat.ClusterID(), h.controller(cat)
	resp.ClusterAuthorizedOperations = unknownOperations
	for _, n := range cat.Nodes() {
		if n.Incarnation == 0 {
			continue // it is expected
		}
		b := kmsg.NewDescribeClusterResponseBroker()
		b.NodeID = int32(n.ID)
		b.Host, b.Port = n.KafkaHostPort()
		if n.Zone != "" {
			b.Rack = &n.Zone
		}
		resp.Brokers = append(resp.Brokers, b)
	}
	return resp
}
