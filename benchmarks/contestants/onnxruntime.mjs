import { DenseSession, openDataset, topClasses } from 'noisefloor';
import { contest } from './contestant.mjs';

await contest(async ({ model, data, shape: given, threads }) => {
  const session = await DenseSession.create(model, { threads });
  const shape = given ?? (await openDataset(data)).shape;
  return {
    about: 'CPU provider, all graph optimisations',
    run: async (images, count) => {
      const logits = (await session.run(images, shape)).get(session.logitsName);
      const classes = logits.length / count;
      return Array.from({ length: count }, (_, i) => topClasses(logits.subarray(i * classes, (i + 1) * classes), 1)[0]);
    },
  };
});
