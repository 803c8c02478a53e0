import { SpikingSession } from 'noisefloor';
import { contest } from './contestant.mjs';

await contest(async ({ model, threads, timeSteps, background }) => {
  const session = await SpikingSession.create(model, { threads });
  return {
    about: session.isa,
    run: async (images, count) => {
      const { potentials, classes } = background ? await session.run(images, { timeSteps }) : session.runSync(images, { timeSteps });
      const last = potentials.subarray((timeSteps - 1) * count * classes);
      return Array.from({ length: count }, (_, i) => argmax(last.subarray(i * classes, (i + 1) * classes)));
    },
  };
});

function argmax(values) {
  return values.indexOf(Math.max(...values));
}
