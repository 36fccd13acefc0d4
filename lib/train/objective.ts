import type { Tensor } from '../tensor.ts'
import { distilled } from './distillation.ts'
import type { Settings } from './settings.ts'
import { type Objective, supervised } from './step.ts'

/** What micro-batches of a run are trained for: its own objective, else a teacher and the labels, else the labels. */
export function objectiveOf(settings: Settings, classWeights: Tensor | undefined): Objective {
  const { objective, teacher, teacherWeight: weight, teacherTemperature: temperature } = settings
  const { neftune, labelSmoothing, gradientCheckpointing: checkpoint } = settings
  if (objective) return objective
  if (teacher) return distilled({ teacher, weight, temperature, neftune, labelSmoothing, checkpoint })
  return supervised({ neftune, labelSmoothing, checkpoint, classWeights })
}
