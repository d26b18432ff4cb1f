package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ackline/broker/api/configs"
)

const (
	resourceTopic  = kmsg.ConfigResourceTypeTopic
	resourceBroker = kmsg.ConfigResourceTypeBroker
)

func (h *Handler) describeConfigs(ctx context.Context, q *kmsg.DescribeConfigsRequest) kmsg.Response {
	behind := h.catchUp(ctx)
	resp := q.ResponseKind().(*kmsg.DescribeConfigsResponse)
	for i := range q.Resources {
		resp.Resources = append(resp.Resources, h.describeResource(&q.Resources[i], q.IncludeDocumentation, q.IncludeSynonyms, behind))
	}
	return resp
}

func (h *Handler) describeResource(q *kmsg.DescribeConfigsRequestResource, doc, synonyms bool, behind error) kmsg.DescribeConfigsResponseResource {
	out := kmsg.NewDescribeConfigsResponseResource()
	out.ResourceType, out.ResourceName = q.ResourceType, q.ResourceName
	switch q.ResourceType {
	case resourceBroker: // nothing of a broker can be set over the protocol, so there is nothing to list
		return out
	case resourceTopic:
	default:
		message := "only topics and brokers have configurations here"
		out.ErrorCode, out.ErrorMessage = codeInvalidRequest, &message
		return out
	}
	if behind != nil {
		message := behind.Error()
		out.ErrorCode, out.ErrorMessage = code(behind), &message
		return out
	}
	t := h.cfg.Cluster.Catalog().TopicNamed(q.ResourceName)
	if t == nil {
		out.ErrorCode = h.unknown(codeUnknownTopicOrPartition)
		return out
	}
	out.Configs = configs.Describe(t, q.ConfigNames, doc, synonyms)
	return out
}
