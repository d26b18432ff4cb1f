package cluster

import (
	"context"
	"net"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Nodes are the addresses that the cluster's brokers advertise, those that answer to the cluster now.
func (c *Cluster) Nodes(ctx context.Context) ([]string, error) {
	resp, err := c.any(ctx, func() kmsg.Request {
		r := kmsg.NewPtrMetadataRequest()
		r.Version = metadataVersion
		r.Topics = []kmsg.MetadataRequestTopic{} // none; nil would be all
		return r
	})
	if err != nil {
		return nil, err
	}
	var out []string
	for _, b := range resp.(*kmsg.MetadataResponse).Brokers {
		out = append(out, net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port))))
	}
	slices.Sort(out)
	return out, nil
}
