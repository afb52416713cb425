// The AI SDK of Vercel, asking the same questions as questions.py.
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto';
import { BatchSpanProcessor, NodeTracerProvider } from '@opentelemetry/sdk-trace-node';
import { embed, generateText, stepCountIs, streamText, tool } from 'ai';
import { z } from 'zod';

const provider = new NodeTracerProvider({ spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter())] });
const openai = createOpenAICompatible({
  name: 'openai', baseURL: process.env.OPENAI_BASE_URL, apiKey: 'none', includeUsage: true,
});
const experimental_telemetry = {
  isEnabled: true, tracer: provider.getTracer('ai'), functionId: 'desk', metadata: { client: 'SECRET Jane Doe' },
};
const common = {
  model: openai('gpt-5'), maxRetries: 0, experimental_telemetry, system: 'SECRET be brief', temperature: 0.5,
  maxOutputTokens: 100, prompt: 'SECRET what is ABC worth?',
};
const price = tool({
  description: 'The price of a share.', inputSchema: z.object({ symbol: z.string() }), execute: async () => 'SECRET 17',
});

await generateText({ ...common, stopWhen: stepCountIs(2), tools: { price } });
for await (const text of streamText(common).textStream) void text;
await generateText({ ...common, model: openai('gpt-broken') }).then(
  () => { throw new Error('the endpoint refuses this model'); },
  (error) => { if (error.statusCode !== 429) throw error; },
);
await embed({
  model: openai.textEmbeddingModel('text-embedding-3-small'), value: 'SECRET bonds', experimental_telemetry,
});
await provider.shutdown();
