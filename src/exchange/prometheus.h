/*
 * prometheus.h
 *		Samples for Prometheus, as they are gathered.
 */
#ifndef TEX_PROMETHEUS_H
#define TEX_PROMETHEUS_H

/* No text is NULL; what a sample has none of is empty. */
typedef struct TexSample
{
	const char *name;
	const char *type;
	const char *help;
	const char *suffix;			/* of the name, as _bucket */
	const char *service;		/* for the order alone: it stands in labels */
	const char *labels;			/* in braces; empty: none */
	int			place;			/* among the samples of a service */
	double		value;
} TexSample;

typedef struct TexSamples
{
	TexSample  *sample;
	int			n;
	int			room;
} TexSamples;

/* prometheus.c */
extern TexSample *tex_add_sample(TexSamples *samples);
extern char *tex_service_labels(const char *service, const char *le);

/* service_metrics.c */
extern void tex_add_service_samples(TexSamples *samples);

#endif							/* TEX_PROMETHEUS_H */
